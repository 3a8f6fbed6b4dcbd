"""Attention over texts of different lengths in one call, as a GPU has it."""

from dataclasses import dataclass
from functools import cache
from typing import Self

import structlog
import torch

from shared.classifier.attention import Group, Layout
from shared.classifier.linear import Linear, answering_linear

log = structlog.get_logger("varlen")


def fused(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    asking: Layout,
    asked: Layout,
) -> torch.Tensor:
    """(n, heads, size) queries, (m, heads, size) keys and values -> (n, heads, size); on a GPU, in any precision.

    It is the kernel below torch's attention over nested tensors, and has no public name; `varlen_attn`, which has one,
    does no fp32. It computes each text alone, so that its answer does not depend on its company. Source: Rabe and
    Staats, arXiv:2112.05682.
    Args: asking, asked: where each text's queries lie, and its keys and values.
    """
    batch_of_one = (each.unsqueeze(0) for each in (queries, keys, values))
    attend = torch.ops.aten._efficient_attention_forward
    places = (asking.starts, asked.starts, asking.longest, asked.longest)
    found: torch.Tensor = attend(*batch_of_one, None, *places, dropout_p=0.0, custom_mask_type=0)[0]
    return found.squeeze(0)


@cache
def has_fused(device: str) -> bool:
    """Whether this torch has it for the device, under the name and with the arguments that we know: it is tried."""
    try:
        tokens, layout = torch.ones(3, 1, 64, device=device), Layout.of([1, 2]).on(device)
        return bool(fused(tokens, tokens, tokens, layout, layout).isfinite().all())
    except Exception as error:
        # Which kind it is differs by device and version; whatever it is, models are padded there.
        log.info("no_varlen_attention", device=device, reason=str(error).splitlines()[0])
        return False


@dataclass(frozen=True, slots=True)
class VarlenAttention:
    """Every token looks at all of its text; a `Look`, where no row is of no text.

    Attributes:
        heads: among which features are divided.
    """

    heads: int

    def __call__(self, looks: torch.Tensor, layout: Layout) -> torch.Tensor:
        """As of a `Look`."""
        queries, keys, values = looks.view(len(looks), 3, self.heads, -1).unbind(1)
        return fused(queries, keys, values, layout, layout).flatten(1)


@dataclass(frozen=True, slots=True)
class FirstTokenVarlen:
    """Each text's first token looks at all of its text; a `FirstLook`, where no row is of no text.

    Attributes:
        make: keys and values of tokens, side by side. heads: among which features are divided.
    """

    make: Linear
    heads: int

    @classmethod
    def of(cls, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, heads: int) -> Self:
        """Arguments as of `FirstTokenAttention.of`."""
        return cls(answering_linear(torch.cat([key, value]), torch.cat([torch.zeros_like(bias), bias])), heads)

    def __call__(self, queries: torch.Tensor, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
        """As of a `FirstLook`."""
        by_head = queries.view(len(queries), self.heads, -1)
        keys, values = self.make(tokens).view(len(tokens), 2, self.heads, -1).unbind(1)
        each = torch.arange(len(queries) + 1, dtype=torch.int32, device=queries.device)
        alone = Layout((Group(len(queries), 1),), 1, each)
        return fused(by_head, keys, values, alone, layout).flatten(1)
