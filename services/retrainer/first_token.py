"""A DistilBERT's last layer, computed for the first token only: the head reads no other.

Exact, and a seventh of a six-layer model's arithmetic less, forwards and backwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from transformers import DistilBertForSequenceClassification

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention, TransformerBlock


class FirstTokenBlock(nn.Module):
    """The same weights under the same names, answering (n, 1, width) where the block answers (n, tokens, width)."""

    def __init__(self, block: "TransformerBlock") -> None:
        super().__init__()
        self.attention, self.sa_layer_norm = block.attention, block.sa_layer_norm
        self.ffn, self.output_layer_norm = block.ffn, block.output_layer_norm

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        first = hidden_states[:, :1]
        seen = self.sa_layer_norm(first_attends(self.attention, hidden_states, attention_mask) + first)
        answer: torch.Tensor = self.output_layer_norm(self.ffn(seen) + seen)
        return answer


def first_attends(
    attention: "DistilBertSelfAttention", hidden_states: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """What the first token takes from all of them. The mask, if any, is (n, 1, tokens, tokens)."""
    first = hidden_states[:, :1]
    taken = functional.scaled_dot_product_attention(
        by_head(attention.q_lin(first), attention.n_heads),
        by_head(attention.k_lin(hidden_states), attention.n_heads),
        by_head(attention.v_lin(hidden_states), attention.n_heads),
        attn_mask=None if mask is None else mask[:, :, :1],
        dropout_p=attention.dropout.p if attention.training else 0.0,
    )
    answer: torch.Tensor = attention.out_lin(taken.transpose(1, 2).reshape(first.shape))
    return answer


def by_head(vectors: torch.Tensor, heads: int) -> torch.Tensor:
    """(n, tokens, width) -> (n, heads, tokens, width / heads)."""
    return vectors.view(*vectors.shape[:-1], heads, -1).transpose(1, 2)


@contextmanager
def only_first_token(model: "PreTrainedModel") -> Iterator[None]:
    """Within, a DistilBERT classifier's last layer is computed for the first token; other models stay as they are."""
    if not isinstance(model, DistilBertForSequenceClassification):
        yield
        return
    layers = model.distilbert.transformer.layer
    whole: Any = layers[-1]
    layers[-1] = FirstTokenBlock(whole)
    try:
        yield
    finally:
        layers[-1] = whole
