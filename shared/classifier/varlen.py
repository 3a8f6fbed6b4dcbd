"""Attention over texts of different lengths in one call, as a GPU has it."""

from dataclasses import dataclass
from functools import cache
from typing import Self

import structlog
import torch

from shared.classifier.attention import Layout
from shared.classifier.linear import Linear, answering_linear

log = structlog.get_logger("varlen")


def fused(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    asking: torch.Tensor,
    most_asking: int,
    asked: torch.Tensor,
    most_asked: int,
) -> torch.Tensor:
    """(n, heads, size) queries, (m, heads, size) keys and values -> (n, heads, size); on a GPU, in any precision.

    It is the kernel below torch's attention over nested tensors, and has no public name; `varlen_attn`, which has one,
    does no fp32. It computes each text alone, so that its answer does not depend on its company. Source: Rabe and
    Staats, arXiv:2112.05682.
    Args:
        asking, asked: (texts + 1,) int32, where each text's queries begin, and its keys, and where the last one's end.
        most_asking, most_asked: of a text.
    """
    batch_of_one = (each.unsqueeze(0) for each in (queries, keys, values))
    attend = torch.ops.aten._efficient_attention_forward
    found: torch.Tensor = attend(
        *batch_of_one, None, asking, asked, most_asking, most_asked, dropout_p=0.0, custom_mask_type=0
    )[0]
    return found.squeeze(0)


@cache
def has_fused(device: str) -> bool:
    """Whether this torch has it for the device, under the name and with the arguments that we know: it is tried."""
    try:
        tokens, starts = torch.ones(3, 1, 64, device=device), torch.tensor([0, 1, 3], dtype=torch.int32, device=device)
        return bool(fused(tokens, tokens, tokens, starts, 2, starts, 2).isfinite().all())
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
        places = (layout.starts, layout.longest)
        return fused(queries, keys, values, *places, *places).flatten(1)


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
        return fused(by_head, keys, values, each, 1, layout.starts, layout.longest).flatten(1)
