"""A DistilBERT classifier that computes no padding: the tokens of all texts lie in one sequence.

Linear layers, norms and activations run over all tokens at once, attention over texts of one length at once, or on a
GPU over all texts; the last layer, of which the head reads the first token only, is computed for that token. What it
answers is what the model would, to rounding.
"""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.classifier.attention import Attention, FirstLook, FirstTokenAttention, Layout, Look
from shared.classifier.distilbert import BODY, NORM_EPS, DistilBert, WeightOf
from shared.classifier.inference import Rows, plan_batches
from shared.classifier.int8 import int8_linear
from shared.classifier.linear import Linear, LinearMaker, answering_linear
from shared.classifier.plan import PlanPrecision
from shared.classifier.precision import supports_bf16
from shared.classifier.threads import with_threads
from shared.classifier.varlen import FirstTokenVarlen, VarlenAttention

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
    attention: Look

    @classmethod
    def of(cls, weight: WeightOf, linear: LinearMaker, attention: Look) -> "_Block":
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

    def __call__(self, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
        """(tokens, width) -> the same."""
        return self.after(tokens, self.attention(self.look(tokens), layout))

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
    from_first: FirstLook

    @classmethod
    def of(
        cls, weight: WeightOf, attention: Look, first: type[FirstTokenAttention | FirstTokenVarlen], heads: int
    ) -> "_Last":
        key, value = (weight(f"{LOOK[part]}.weight") for part in "kv")
        return cls(
            whole=_Block.of(weight, answering_linear, attention),
            ask=_linear(answering_linear, weight, LOOK["q"]),
            from_first=first.of(key, value, weight(f"{LOOK['v']}.bias"), heads),
        )

    def first(self, tokens: torch.Tensor, pack: "_Pack") -> torch.Tensor:
        """(tokens, width) -> (texts, width)."""
        first = tokens[pack.first]
        return self.whole.after(first, self.from_first(self.ask(first), tokens, pack.layout))


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
            text begins, filled up to a round number too. back: (texts,) the place of each that was asked for.
    """

    layout: Layout
    ids: torch.Tensor
    positions: torch.Tensor
    first: torch.Tensor
    back: torch.Tensor

    @classmethod
    def of(cls, rows: Rows, *, exactly: bool) -> "_Pack":
        """Args: rows: token ids. exactly: nothing is filled up."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        rows = [rows[row] for row in order]
        lengths = list(map(len, rows))
        layout = Layout.of(lengths)
        *starts, total = layout.starts.tolist()
        tokens, texts = (total, len(rows)) if exactly else (rounded_tokens(total), rounded_texts(len(rows)))
        ids = np.zeros(tokens, np.int64)
        positions = np.zeros_like(ids)
        ids[:total] = np.fromiter(chain.from_iterable(rows), np.int64, total)
        positions[:total] = np.arange(total) - np.repeat(starts, lengths)
        first = np.pad(starts, (0, texts - len(rows)))
        return cls(layout, *map(torch.from_numpy, (ids, positions, first, np.argsort(order))))

    def on(self, device: torch.device) -> "_Pack":
        """The same there, in one transfer."""
        if device.type == "cpu":
            return self
        parts = (self.layout.starts, self.ids, self.positions, self.first, self.back)
        there = torch.cat([part.int() for part in parts]).to(device)
        starts, *others = torch.split(there, [len(part) for part in parts])
        return _Pack(replace(self.layout, starts=starts), *others)


def rounded_tokens(total: int) -> int:
    """How many rows are computed for so many tokens.

    >>> [rounded_tokens(total) for total in (1, 26, 130, 1000)]
    [16, 32, 160, 1024]
    """
    return _rounded(total, next((to for most, to in TOKENS_ROUNDED_TO if total <= most), MORE_TOKENS_ROUNDED_TO))


def rounded_texts(count: int) -> int:
    """How many first tokens are computed for so many texts."""
    return _rounded(count, TEXTS_ROUNDED_TO)


def _rounded(number: int, to: int) -> int:
    return -(-number // to) * to


class PackedDistilBert:
    """The weights of a classifier, laid out for answering; a `Body`."""

    def __init__(
        self, model: DistilBert, precision: PlanPrecision, device: str = "cpu", *, varlen: bool | None = None
    ) -> None:
        """Copies what it needs of the model to the device.

        Args:
            precision: int8, for a CPU, is that of the linear layers; the rest is fp32, and attention bf16 where the CPU
                has that.
            varlen: texts of different lengths are looked at in one call; None: on a GPU.
        """
        self._device = torch.device(device)
        self._varlen = self._device.type != "cpu" if varlen is None else varlen
        element = torch.bfloat16 if precision == "bf16" else torch.float32
        own = DistilBert(model.layers, model.heads, lambda name: model.weight(name).to(self._device, element))
        weight, rough = own.weight, precision == "int8"
        self._alone_up_to = INTEGERS_ALONE_UP_TO if rough else 0
        linear = int8_linear if rough else answering_linear
        by_length = Attention(own.heads, rough=rough and supports_bf16("cpu"))
        attention: Look = VarlenAttention(own.heads) if self._varlen else by_length
        self._words = weight(f"{BODY}embeddings.word_embeddings.weight").clone()
        self._places = weight(f"{BODY}embeddings.position_embeddings.weight").clone()
        self._norm = _Norm.of(weight, f"{BODY}embeddings.LayerNorm")
        *others, last = map(own.block, range(own.layers))
        self._blocks = [_Block.of(block, linear, attention) for block in others]
        first = FirstTokenVarlen if self._varlen else FirstTokenAttention
        self._last = _Last.of(last, attention, first, own.heads)
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
        pack = self._packed(rows)
        with with_threads(1 if self._by_one_thread(len(pack.ids)) else torch.get_num_threads()):
            answers = self._last.first(self._before_last(pack), pack)
            return self._head(functional.relu(self._before_head(answers)))[pack.back].float()

    def means(self, rows: Rows) -> torch.Tensor:
        """(texts, width) float32: the mean of the last layer over each text's tokens."""
        pack = self._packed(rows)
        lengths = pack.layout.starts.diff()
        tokens_of_texts = sum(group.tokens for group in pack.layout.groups)
        text = torch.repeat_interleave(lengths, output_size=tokens_of_texts)
        tokens = self._last.whole(self._before_last(pack), pack.layout)[:tokens_of_texts].float()
        sums = tokens.new_zeros(len(rows), tokens.shape[1]).index_add_(0, text, tokens)
        return (sums / lengths.unsqueeze(1))[pack.back]

    def _by_one_thread(self, tokens: int) -> bool:
        return torch.get_num_threads() == MEASURED_THREADS and tokens <= self._alone_up_to

    def _before_last(self, pack: _Pack) -> torch.Tensor:
        """(tokens, width) that the last layer reads."""
        tokens = self._norm(self._words[pack.ids] + self._places[pack.positions])
        for block in self._blocks:
            tokens = block(tokens, pack.layout)
        return tokens

    def _packed(self, rows: Rows) -> _Pack:
        return _Pack.of(rows, exactly=self._varlen).on(self._device)
