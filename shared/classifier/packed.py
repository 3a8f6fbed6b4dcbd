"""A DistilBERT classifier that computes no padding: the tokens of all texts lie in one sequence.

Linear layers, norms and activations run over all tokens at once, attention over texts of one length at once; the last
layer, of which the head reads the first token only, is computed for that token. What it answers is what the model
would, to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.classifier.attention import Attention, FirstTokenAttention, Group
from shared.classifier.distilbert import BODY, NORM_EPS, DistilBert, WeightOf
from shared.classifier.inference import Rows, plan_batches
from shared.classifier.int8 import int8_linear
from shared.classifier.linear import Linear, LinearMaker, answering_linear
from shared.classifier.plan import PlanPrecision
from shared.classifier.precision import supports_bf16
from shared.classifier.threads import with_threads

# Tokens for which, in int8, two threads take as long as one, and twice its processor time. In bf16 two are faster.
INTEGERS_ALONE_UP_TO, MEASURED_THREADS = 64, 2
LOOK = {part: f"attention.{part}_lin" for part in "qkv"}


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, weight: WeightOf, name: str) -> "_Norm":
        return cls(weight(f"{name}.weight").clone(), weight(f"{name}.bias").clone())

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, NORM_EPS)


@dataclass(frozen=True, slots=True)
class _Block:
    """One layer. `look` makes queries, keys and values, side by side."""

    look: Linear
    out: Linear
    attention_norm: _Norm
    widen: Linear
    narrow: Linear
    out_norm: _Norm
    attention: Attention

    @classmethod
    def of(cls, weight: WeightOf, linear: LinearMaker, attention: Attention) -> "_Block":
        look, bias = (torch.cat([weight(f"{LOOK[part]}.{kind}") for part in "qkv"]) for kind in ("weight", "bias"))
        return cls(
            look=linear(look, bias),
            out=_linear(linear, weight, "attention.out_lin"),
            attention_norm=_Norm.of(weight, "sa_layer_norm"),
            widen=_linear(linear, weight, "ffn.lin1", gelu=True),
            narrow=_linear(linear, weight, "ffn.lin2"),
            out_norm=_Norm.of(weight, "output_layer_norm"),
            attention=attention,
        )

    def __call__(self, tokens: torch.Tensor, groups: Sequence[Group]) -> torch.Tensor:
        """(tokens, width) -> the same."""
        return self.after(tokens, self.attention(self.look(tokens), groups))

    def after(self, tokens: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
        """What becomes of tokens, given what they take from those that they look at."""
        seen = self.attention_norm(self.out(taken) + tokens)
        return self.out_norm(self.narrow(self.widen(seen)) + seen)


@dataclass(frozen=True, slots=True)
class _Last:
    """The last layer, of which the head reads each text's first token only.

    That is few rows, so it computes no integers. `whole` makes what embeddings are the mean of.
    """

    whole: _Block
    ask: Linear
    from_first: FirstTokenAttention

    @classmethod
    def of(cls, weight: WeightOf, attention: Attention) -> "_Last":
        key, value = (weight(f"{LOOK[part]}.weight") for part in "kv")
        return cls(
            whole=_Block.of(weight, answering_linear, attention),
            ask=_linear(answering_linear, weight, LOOK["q"]),
            from_first=FirstTokenAttention.of(key, value, weight(f"{LOOK['v']}.bias"), attention.heads),
        )

    def first(self, tokens: torch.Tensor, pack: "_Pack") -> torch.Tensor:
        """(tokens, width) -> (texts, width)."""
        first = tokens[pack.first]
        return self.whole.after(first, self.from_first(self.ask(first), tokens, pack.groups))


def _linear(linear: LinearMaker, weight: WeightOf, name: str, *, gelu: bool = False) -> Linear:
    return linear(weight(f"{name}.weight"), weight(f"{name}.bias"), gelu=gelu)


# oneDNN makes code for every number of rows that a layer meets, and keeps it: 3 MiB for each total of tokens. Totals
# are therefore rounded up, small ones less, since one short text alone should not be computed as three. The same goes
# for the first tokens alone, of which there are fewer.
TOKENS_ROUNDED_TO = ((128, 16), (256, 32))  # totals up to the first number to the second
MORE_TOKENS_ROUNDED_TO, TEXTS_ROUNDED_TO = 64, 8


@dataclass(frozen=True, slots=True)
class _Pack:
    """Texts in one sequence, the shortest first, filled up to a round number of tokens that belong to none.

    Attributes:
        ids: (tokens,) of all texts. positions: (tokens,) each token's place in its text. first: (texts,) where each
            text begins, filled up to a round number too.
    """

    groups: tuple[Group, ...]
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
        groups = tuple(Group(len(list(same)), int(length)) for length, same in groupby(lengths))
        return cls(groups, *map(torch.from_numpy, (ids, positions, first)))


def rounded_tokens(total: int) -> int:
    """How many rows are computed for so many tokens.

    >>> [rounded_tokens(total) for total in (1, 26, 130, 1000)]
    [16, 32, 160, 1024]
    """
    return _rounded(total, next((to for most, to in TOKENS_ROUNDED_TO if total <= most), MORE_TOKENS_ROUNDED_TO))


def _rounded(number: int, to: int) -> int:
    return -(-number // to) * to


class PackedDistilBert:
    """The weights of a classifier, laid out for answering; a `Body`."""

    def __init__(self, model: DistilBert, precision: PlanPrecision) -> None:
        """Copies what it needs of the model.

        Args: precision: int8 is that of the linear layers; the rest is fp32, and attention bf16 where the CPU has that.
        """
        element = torch.bfloat16 if precision == "bf16" else torch.float32
        self._alone_up_to = INTEGERS_ALONE_UP_TO if precision == "int8" else 0
        own = DistilBert(model.layers, model.heads, lambda name: model.weight(name).to(element))
        weight, rough = own.weight, precision == "int8"
        linear = int8_linear if rough else answering_linear
        attention = Attention(own.heads, rough=rough and supports_bf16("cpu"))
        self._words = weight(f"{BODY}embeddings.word_embeddings.weight").clone()
        self._places = weight(f"{BODY}embeddings.position_embeddings.weight").clone()
        self._norm = _Norm.of(weight, f"{BODY}embeddings.LayerNorm")
        *others, last = map(own.block, range(own.layers))
        self._blocks = [_Block.of(block, linear, attention) for block in others]
        self._last = _Last.of(last, attention)
        self._before_head = _linear(answering_linear, weight, "pre_classifier")
        self._head = _linear(answering_linear, weight, "classifier")

    @property
    def width(self) -> int:
        """Of an embedding."""
        return self._words.shape[1]

    def batches(self, lengths: NDArray[np.int32], token_budget: int) -> list[list[int]]:
        """The longest together, since texts of one length are looked at in one go."""
        return plan_batches(lengths, token_budget, padded=False)

    def logits(self, rows: Rows) -> torch.Tensor:
        """(texts, labels) float32 of token ids, in their order."""
        order, pack = _packed(rows)
        with with_threads(1 if self._by_one_thread(len(pack.ids)) else torch.get_num_threads()):
            answers = self._last.first(self._before_last(pack), pack)
            return _put_back(self._head(functional.relu(self._before_head(answers)))[: len(rows)].float(), order)

    def means(self, rows: Rows) -> torch.Tensor:
        """(texts, width) float32: the mean of the last layer over each text's tokens."""
        order, pack = _packed(rows)
        lengths = torch.tensor([group.length for group in pack.groups for _ in range(group.texts)])
        text = torch.repeat_interleave(torch.arange(len(rows)), lengths)
        tokens = self._last.whole(self._before_last(pack), pack.groups)[: len(text)].float()
        sums = torch.zeros(len(rows), tokens.shape[1]).index_add_(0, text, tokens)
        return _put_back(sums / lengths.unsqueeze(1), order)

    def _by_one_thread(self, tokens: int) -> bool:
        return torch.get_num_threads() == MEASURED_THREADS and tokens <= self._alone_up_to

    def _before_last(self, pack: _Pack) -> torch.Tensor:
        """(tokens, width) that the last layer reads."""
        tokens = self._norm(self._words[pack.ids] + self._places[pack.positions])
        for block in self._blocks:
            tokens = block(tokens, pack.groups)
        return tokens


def _packed(rows: Rows) -> tuple[list[int], _Pack]:
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    return order, _Pack.of([rows[row] for row in order])


def _put_back(found: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    answers = torch.empty_like(found)
    answers[torch.tensor(order)] = found
    return answers
