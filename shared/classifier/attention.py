"""Attention over texts of different lengths that lie one after the other, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import Protocol, Self

import torch
from torch.nn import functional

# Below it torch's own kernel is the faster one in bf16 too; above, it takes as long as in fp32. Products round the
# shares before they are weighed: they err 2 to 5 times as much, by some thousandths of what is taken.
BY_PRODUCTS_FROM = 64


@dataclass(frozen=True, slots=True)
class Group:
    """Texts of one length, one after the other."""

    texts: int
    length: int

    @property
    def tokens(self) -> int:
        """Of all its texts."""
        return self.texts * self.length


@dataclass(frozen=True, slots=True)
class Layout:
    """Where texts lie that follow one another.

    Attributes:
        groups: neighbours of one length. longest: tokens of the longest text.
        starts: (texts + 1,) int32, each text's first row and where the last one ends; it lies where the tokens do.
    """

    groups: tuple[Group, ...]
    longest: int
    starts: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Self:
        """Of texts of so many tokens, on the CPU."""
        groups = tuple(Group(len(list(same)), length) for length, same in groupby(lengths))
        return cls(groups, max(lengths), torch.tensor([0, *accumulate(lengths)], dtype=torch.int32))

    def on(self, device: torch.device | str) -> Self:
        """The same beside tokens that lie there."""
        return replace(self, starts=self.starts.to(device))


class Look(Protocol):
    """Every token looks at all of its text."""

    def __call__(self, looks: torch.Tensor, layout: Layout) -> torch.Tensor:
        """(n, 3 width) queries, keys and values side by side -> (n, width)."""


class FirstLook(Protocol):
    """Each text's first token looks at all of its text."""

    def __call__(self, queries: torch.Tensor, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
        """(texts, width) and (n, width), of which keys and values are made -> (texts, width)."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Every token looks at all of its text; texts of one length in one go. A `Look` for a CPU.

    Attributes:
        heads: among which features are divided. rough: products in bf16, whatever the tokens are in.
    """

    heads: int
    rough: bool = False

    def __call__(self, looks: torch.Tensor, layout: Layout) -> torch.Tensor:
        """As of a `Look`; rows of no text take nothing."""
        width = looks.shape[1] // 3
        taken, row = looks.new_zeros(len(looks), width), 0
        for group in layout.groups:
            rows = slice(row, row + group.tokens)
            by_head = looks[rows].view(group.texts, group.length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            answer = self._of_texts(*by_head)
            taken[rows].view(group.texts, group.length, self.heads, -1).copy_(answer.transpose(1, 2))
            row += group.tokens
        return taken

    def _of_texts(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """(texts, heads, length, size) each -> the same."""
        in_bf16 = self.rough or queries.dtype == torch.bfloat16
        if queries.shape[2] < BY_PRODUCTS_FROM or not in_bf16:
            return functional.scaled_dot_product_attention(queries, keys, values)
        query, key, value = (
            each.to(torch.bfloat16, memory_format=torch.contiguous_format) for each in (queries, keys, values)
        )
        shares = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3)).softmax(-1)
        return torch.matmul(shares, value)


@dataclass(frozen=True, slots=True)
class FirstTokenAttention:
    """Each text's first token looks at all of its text, in fp32 whatever the tokens are in. A `FirstLook` for a CPU.

    A query times a key is, since both are products, that query taken back through the keys' weight, times the token
    itself; and a sum of values is the value of the sum. So keys and values of single tokens need not be made.

    Attributes:
        keys: (heads, size, width) weight. values: (heads, width, size) weight. bias: (width,) of the values; that of
            the keys adds the same to all tokens of a text, so nothing to their shares.
    """

    keys: torch.Tensor
    values: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, heads: int) -> "FirstTokenAttention":
        """Args: key, value: (width, width) weights as of linear layers, of which copies are kept."""
        width = key.shape[1]
        return cls(
            keys=key.float().reshape(heads, -1, width).clone(),
            values=value.float().reshape(heads, -1, width).transpose(1, 2).clone(memory_format=torch.contiguous_format),
            bias=bias.float().clone(),
        )

    def __call__(self, queries: torch.Tensor, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
        """As of a `FirstLook`; texts beyond the layout's take nothing but the bias."""
        heads, size, width = self.keys.shape
        exact = tokens.float()
        by_head = queries.float().view(-1, heads, size).transpose(0, 1) * size**-0.5
        back = torch.bmm(by_head, self.keys).transpose(0, 1)
        seen, text, row = torch.zeros_like(back), 0, 0
        for group in layout.groups:
            texts = slice(text, text + group.texts)
            own = exact[row : row + group.tokens].view(group.texts, group.length, width)
            shares = torch.bmm(back[texts], own.transpose(1, 2)).softmax(-1)
            seen[texts] = torch.bmm(shares, own)
            text, row = text + group.texts, row + group.tokens
        values = torch.bmm(seen.transpose(0, 1), self.values)
        return (values.transpose(0, 1).reshape(len(queries), width) + self.bias).to(queries.dtype)
