"""Linear layers for answering: on a CPU, weights laid out for its matrix instructions once, not at every call."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.nn import functional

Linear = Callable[[torch.Tensor], torch.Tensor]
"""(n, in) -> (n, out)."""


class LinearMaker(Protocol):
    """Makes a layer of a weight (out, in) and a bias (out,), of both of which it keeps copies."""

    def __call__(self, weight: torch.Tensor, bias: torch.Tensor, *, gelu: bool = False) -> Linear:
        """x -> x @ weight.T + bias, through the exact GELU if asked."""


def answering_linear(weight: torch.Tensor, bias: torch.Tensor, *, gelu: bool = False) -> Linear:
    """x -> x @ weight.T + bias, through the exact GELU if asked; weight (out, in), bias (out,).

    Weight and bias are copied, so that the caller may let go of them. It computes where they lie.
    """
    own_weight, own_bias = weight.detach().clone(), bias.detach().clone()
    return (prepacked if weight.device.type == "cpu" and can_prepack() else plain)(own_weight, own_bias, gelu)


def can_prepack() -> bool:
    """Whether this torch has oneDNN, and its layouts under the names that we know."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return bool(getattr(torch._C, "_has_mkldnn", False)) and all(hasattr(torch.ops.mkldnn, name) for name in names)


def plain(weight: torch.Tensor, bias: torch.Tensor, gelu: bool) -> Linear:
    """As torch computes it."""
    if gelu:
        return lambda rows: functional.gelu(functional.linear(rows, weight, bias))
    return lambda rows: functional.linear(rows, weight, bias)


def prepacked(weight: torch.Tensor, bias: torch.Tensor, gelu: bool) -> Linear:
    """As oneDNN computes it, GELU in the same pass."""
    # What torch's own compiler calls for frozen weights; these two have no public name.
    onednn: Any = torch.ops.mkldnn
    packed = onednn._reorder_linear_weight(weight, None)
    after, kind = ("gelu", "none") if gelu else ("none", "")
    return lambda rows: onednn._linear_pointwise(rows, packed, bias, after, [], kind)
