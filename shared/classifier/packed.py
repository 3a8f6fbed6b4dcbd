"""A DistilBERT classifier that computes no padding: the tokens of all texts lie in one sequence.

Linear layers, norms and activations run over all tokens at once, attention over texts of one length at once; the last
layer, of which the head reads the first token only, is computed for that token. What it answers is what the model
would, to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import DistilBertForSequenceClassification

from shared.classifier.inference import Rows
from shared.classifier.linear import Linear, answering_linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.models.distilbert.modeling_distilbert import TransformerBlock


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    @classmethod
    def of(cls, norm: torch.nn.LayerNorm) -> "_Norm":
        return cls(norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class _Block:
    """One layer. `asked` makes queries, `read` keys and values, side by side."""

    asked: Linear
    read: Linear
    out: Linear
    attention_norm: _Norm
    widen: Linear
    narrow: Linear
    out_norm: _Norm

    @classmethod
    def of(cls, block: "TransformerBlock") -> "_Block":
        attention, ffn = block.attention, block.ffn
        read = (attention.k_lin, attention.v_lin)
        return cls(
            asked=answering_linear(attention.q_lin.weight, attention.q_lin.bias),
            read=answering_linear(torch.cat([each.weight for each in read]), torch.cat([each.bias for each in read])),
            out=answering_linear(attention.out_lin.weight, attention.out_lin.bias),
            attention_norm=_Norm.of(block.sa_layer_norm),
            widen=answering_linear(ffn.lin1.weight, ffn.lin1.bias, gelu=True),
            narrow=answering_linear(ffn.lin2.weight, ffn.lin2.bias),
            out_norm=_Norm.of(block.output_layer_norm),
        )

    def __call__(self, tokens: torch.Tensor, pack: "_Pack", heads: int, *, first_only: bool) -> torch.Tensor:
        """(tokens, width) -> the same; with `first_only` (texts, width), each text's first token."""
        keys_values = self.read(tokens)
        kept = tokens[pack.first] if first_only else tokens
        taken = _attend(self.asked(kept), keys_values, pack.groups, heads, first_only)
        seen = self.attention_norm(self.out(taken) + kept)
        return self.out_norm(self.narrow(self.widen(seen)) + seen)


@dataclass(frozen=True, slots=True)
class _Group:
    """Texts of one length, one after the other in a pack."""

    texts: int
    length: int


@dataclass(frozen=True, slots=True)
class _Pack:
    """Texts in one sequence, the shortest first.

    Attributes:
        ids: (tokens,) of all texts. positions: (tokens,) each token's place in its text. first: (texts,) where each
            text begins.
    """

    groups: tuple[_Group, ...]
    ids: torch.Tensor
    positions: torch.Tensor
    first: torch.Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> "_Pack":
        """Args: rows: token ids, the shortest first."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        first = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        ids = np.fromiter(chain.from_iterable(rows), np.int64, total)
        positions = np.arange(total) - np.repeat(first, lengths)
        groups = tuple(_Group(len(list(same)), int(length)) for length, same in groupby(lengths))
        on_device = (torch.from_numpy(part).to(device) for part in (ids, positions, first))
        return cls(groups, *on_device)


def _attend(
    asked: torch.Tensor, keys_values: torch.Tensor, groups: Sequence[_Group], heads: int, first_only: bool
) -> torch.Tensor:
    """Each text's tokens, or its first one, look at all of that text's."""
    taken = torch.empty_like(asked)
    query_row = key_row = 0
    for group in groups:
        rows, queries = group.texts * group.length, group.texts * (1 if first_only else group.length)
        query = asked[query_row : query_row + queries].view(group.texts, -1, 1, heads, asked.shape[1] // heads)
        pair = keys_values[key_row : key_row + rows].view(group.texts, -1, 2, heads, asked.shape[1] // heads)
        (by_head,) = query.permute(2, 0, 3, 1, 4)
        keys, values = pair.permute(2, 0, 3, 1, 4)
        answer = functional.scaled_dot_product_attention(by_head, keys, values)
        taken[query_row : query_row + queries] = answer.transpose(1, 2).reshape(queries, -1)
        query_row, key_row = query_row + queries, key_row + rows
    return taken


class PackedDistilBert:
    """The weights of a classifier, laid out for answering; a `Body`."""

    def __init__(self, model: DistilBertForSequenceClassification) -> None:
        """Copies what it needs of the model, in the model's precision and on its device."""
        body: Any = model.distilbert
        embeddings = body.embeddings
        self.device = model.device
        self._heads = int(model.config.n_heads)
        self._words = embeddings.word_embeddings.weight.detach()
        self._places = embeddings.position_embeddings.weight.detach()
        self._norm = _Norm.of(embeddings.LayerNorm)
        self._blocks = [_Block.of(block) for block in body.transformer.layer]
        self._before_head = answering_linear(model.pre_classifier.weight, model.pre_classifier.bias)
        self._head = answering_linear(model.classifier.weight, model.classifier.bias)

    def batches(self, lengths: NDArray[np.int32], token_budget: int) -> list[list[int]]:
        """Rows with so many tokens together, the longest first, since texts of one length are looked at in one go.

        A text longer than the budget is a batch of its own.
        """
        order = np.argsort(-lengths, kind="stable")
        batches: list[list[int]] = []
        tokens = 0
        for row in order.tolist():
            tokens += int(lengths[row])
            if batches and tokens <= token_budget:
                batches[-1].append(row)
            else:
                batches.append([row])
                tokens = int(lengths[row])
        return batches

    def logits(self, rows: Rows) -> torch.Tensor:
        """(texts, labels) float32 of token ids, in their order."""
        order, pack = self._packed(rows)
        first = functional.relu(self._before_head(self._body(pack, first_only=True)))
        return _put_back(self._head(first).float(), order)

    def means(self, rows: Rows) -> torch.Tensor:
        """(texts, width) float32: the mean of the last layer over each text's tokens."""
        order, pack = self._packed(rows)
        lengths = torch.tensor([group.length for group in pack.groups for _ in range(group.texts)], device=self.device)
        tokens = self._body(pack, first_only=False).float()
        text = torch.repeat_interleave(torch.arange(len(rows), device=self.device), lengths)
        sums = torch.zeros(len(rows), tokens.shape[1], device=self.device).index_add_(0, text, tokens)
        return _put_back(sums / lengths.unsqueeze(1), order)

    def _packed(self, rows: Rows) -> tuple[list[int], _Pack]:
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        return order, _Pack.of([rows[row] for row in order], self.device)

    def _body(self, pack: _Pack, *, first_only: bool) -> torch.Tensor:
        tokens = self._norm(self._words[pack.ids] + self._places[pack.positions])
        *others, last = self._blocks
        for block in others:
            tokens = block(tokens, pack, self._heads, first_only=False)
        return last(tokens, pack, self._heads, first_only=first_only)


def packed(model: "PreTrainedModel") -> PackedDistilBert | None:
    """The model without padding; None if it is of a kind that this does not know."""
    if not isinstance(model, DistilBertForSequenceClassification) or model.config.activation != "gelu":
        return None
    return PackedDistilBert(model)


def _put_back(found: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    answers = torch.empty_like(found)
    answers[torch.tensor(order, device=found.device)] = found
    return answers
