"""Linear layers for answering: weights laid out for the CPU's matrix instructions once, not at every call."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

Linear = Callable[[torch.Tensor], torch.Tensor]
"""(n, in) -> (n, out)."""


def answering_linear(weight: torch.Tensor, bias: torch.Tensor, *, gelu: bool = False) -> Linear:
    """x -> x @ weight.T + bias, through the exact GELU if asked; weight (out, in), bias (out,).

    On a CPU with oneDNN the weight is copied into that library's own layout, so the caller may let go of it.
    """
    if weight.device.type == "cpu" and torch._C._has_mkldnn:
        return _prepacked(weight.detach(), bias.detach(), gelu)
    return _plain(weight.detach(), bias.detach(), gelu)


def _plain(weight: torch.Tensor, bias: torch.Tensor, gelu: bool) -> Linear:
    if gelu:
        return lambda rows: functional.gelu(functional.linear(rows, weight, bias))
    return lambda rows: functional.linear(rows, weight, bias)


def _prepacked(weight: torch.Tensor, bias: torch.Tensor, gelu: bool) -> Linear:
    # What torch's own compiler calls for frozen weights; these two have no public name.
    onednn: Any = torch.ops.mkldnn
    packed = onednn._reorder_linear_weight(weight, None)
    after, kind = ("gelu", "none") if gelu else ("none", "")
    return lambda rows: onednn._linear_pointwise(rows, packed, bias, after, [], kind)
