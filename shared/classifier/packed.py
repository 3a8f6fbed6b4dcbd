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

from shared.classifier.inference import Rows, plan_batches
from shared.classifier.linear import Linear, LinearMaker, answering_linear

if TYPE_CHECKING:
    from transformers import DistilBertForSequenceClassification, PreTrainedModel
    from transformers.models.distilbert.modeling_distilbert import TransformerBlock


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    @classmethod
    def of(cls, norm: torch.nn.LayerNorm) -> "_Norm":
        return cls(_own(norm.weight), _own(norm.bias), norm.eps)

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
    def of(cls, block: "TransformerBlock", linear: LinearMaker) -> "_Block":
        attention, ffn = block.attention, block.ffn
        read = (attention.k_lin, attention.v_lin)
        return cls(
            asked=linear(attention.q_lin.weight, attention.q_lin.bias),
            read=linear(torch.cat([each.weight for each in read]), torch.cat([each.bias for each in read])),
            out=linear(attention.out_lin.weight, attention.out_lin.bias),
            attention_norm=_Norm.of(block.sa_layer_norm),
            widen=linear(ffn.lin1.weight, ffn.lin1.bias, gelu=True),
            narrow=linear(ffn.lin2.weight, ffn.lin2.bias),
            out_norm=_Norm.of(block.output_layer_norm),
        )

    def __call__(self, tokens: torch.Tensor, pack: "_Pack", heads: int, *, first_only: bool) -> torch.Tensor:
        """(tokens, width) -> the same; with `first_only` (texts, width), each text's first token."""
        keys_values = self.read(tokens)
        kept = tokens[pack.first] if first_only else tokens
        taken = _attend(self.asked(kept), keys_values, pack.groups, heads, first_only)
        seen = self.attention_norm(self.out(taken) + kept)
        return self.out_norm(self.narrow(self.widen(seen)) + seen)


# oneDNN makes code for every number of rows that a layer meets, and keeps it: 3 MiB for each total of tokens. Totals
# are therefore rounded up, small ones less, since one short text alone should not be computed as three. The same goes
# for the first tokens alone, of which there are fewer.
TOKENS_ROUNDED_TO = ((128, 16), (256, 32))  # totals up to the first number to the second
MORE_TOKENS_ROUNDED_TO, TEXTS_ROUNDED_TO = 64, 8


@dataclass(frozen=True, slots=True)
class _Group:
    """Texts of one length, one after the other in a pack."""

    texts: int
    length: int


@dataclass(frozen=True, slots=True)
class _Pack:
    """Texts in one sequence, the shortest first, filled up to a round number of tokens that belong to none.

    Attributes:
        ids: (tokens,) of all texts. positions: (tokens,) each token's place in its text. first: (texts,) where each
            text begins, filled up to a round number too.
    """

    groups: tuple[_Group, ...]
    ids: torch.Tensor
    positions: torch.Tensor
    first: torch.Tensor

    @classmethod
    def of(cls, rows: Rows) -> "_Pack":
        """Args: rows: token ids, the shortest first."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        first = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        ids = np.zeros(rounded_tokens(total), np.int64)
        positions = np.zeros_like(ids)
        ids[:total] = np.fromiter(chain.from_iterable(rows), np.int64, total)
        positions[:total] = np.arange(total) - np.repeat(first, lengths)
        first = np.pad(first, (0, _rounded(len(rows), TEXTS_ROUNDED_TO) - len(rows)))
        groups = tuple(_Group(len(list(same)), int(length)) for length, same in groupby(lengths))
        return cls(groups, *map(torch.from_numpy, (ids, positions, first)))


def rounded_tokens(total: int) -> int:
    """How many rows are computed for so many tokens.

    >>> [rounded_tokens(total) for total in (1, 26, 130, 1000)]
    [16, 32, 160, 1024]
    """
    return _rounded(total, next((to for most, to in TOKENS_ROUNDED_TO if total <= most), MORE_TOKENS_ROUNDED_TO))


def _rounded(number: int, to: int) -> int:
    return -(-number // to) * to


def _attend(
    asked: torch.Tensor, keys_values: torch.Tensor, groups: Sequence[_Group], heads: int, first_only: bool
) -> torch.Tensor:
    """Each text's tokens, or its first one, look at all of that text's; what belongs to no text takes nothing."""
    taken = torch.zeros_like(asked)
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

    def __init__(self, model: "DistilBertForSequenceClassification", linear: LinearMaker = answering_linear) -> None:
        """Copies what it needs of the model, in the model's precision. Args: linear: makes the layers of its blocks."""
        body: Any = model.distilbert
        embeddings = body.embeddings
        self._heads = int(model.config.n_heads)
        self._words = _own(embeddings.word_embeddings.weight)
        self._places = _own(embeddings.position_embeddings.weight)
        self._norm = _Norm.of(embeddings.LayerNorm)
        self._blocks = [_Block.of(block, linear) for block in body.transformer.layer]
        self._before_head = answering_linear(model.pre_classifier.weight, model.pre_classifier.bias)
        self._head = answering_linear(model.classifier.weight, model.classifier.bias)

    @property
    def width(self) -> int:
        """Of an embedding."""
        return self._words.shape[1]

    def batches(self, lengths: NDArray[np.int32], token_budget: int) -> list[list[int]]:
        """The longest together, since texts of one length are looked at in one go."""
        return plan_batches(lengths, token_budget, padded=False)

    def logits(self, rows: Rows) -> torch.Tensor:
        """(texts, labels) float32 of token ids, in their order."""
        order, pack = self._packed(rows)
        first = functional.relu(self._before_head(self._body(pack, first_only=True)))
        return _put_back(self._head(first)[: len(rows)].float(), order)

    def means(self, rows: Rows) -> torch.Tensor:
        """(texts, width) float32: the mean of the last layer over each text's tokens."""
        order, pack = self._packed(rows)
        lengths = torch.tensor([group.length for group in pack.groups for _ in range(group.texts)])
        text = torch.repeat_interleave(torch.arange(len(rows)), lengths)
        tokens = self._body(pack, first_only=False)[: len(text)].float()
        sums = torch.zeros(len(rows), tokens.shape[1]).index_add_(0, text, tokens)
        return _put_back(sums / lengths.unsqueeze(1), order)

    def _packed(self, rows: Rows) -> tuple[list[int], _Pack]:
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        return order, _Pack.of([rows[row] for row in order])

    def _body(self, pack: _Pack, *, first_only: bool) -> torch.Tensor:
        tokens = self._norm(self._words[pack.ids] + self._places[pack.positions])
        *others, last = self._blocks
        for block in others:
            tokens = block(tokens, pack, self._heads, first_only=False)
        return last(tokens, pack, self._heads, first_only=first_only)


def packed(model: "PreTrainedModel", linear: LinearMaker = answering_linear) -> PackedDistilBert | None:
    """The model without padding; None if it is of a kind that this does not know, or on a GPU.

    Args: linear: makes the layers of its blocks.

    There, a call of attention for each length among the texts may cost more than the padding that it saves.
    """
    # Imported late: whoever has such a model has paid the seconds that it takes.
    from transformers import DistilBertForSequenceClassification

    if not isinstance(model, DistilBertForSequenceClassification) or model.config.activation != "gelu":
        return None
    if model.device.type != "cpu":
        return None
    return PackedDistilBert(model, linear)


def _own(weight: torch.Tensor) -> torch.Tensor:
    """A copy: what was loaded is a view of the file, all of which it would keep in memory."""
    return weight.detach().clone()


def _put_back(found: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    answers = torch.empty_like(found)
    answers[torch.tensor(order)] = found
    return answers
