"""Linear layers in 8-bit integers, for CPUs that multiply those fastest (VNNI: AVX-512 or AVX).

Weights are rounded once, one scale for each output; inputs at every call, each token between its own smallest and
largest, so that a text's answer does not depend on its company. Source: the dynamic quantisation of Yao et al.,
"ZeroQuant", arXiv:2206.01861; with a zero of its own for each token, which halves the error where features lean to one
side, as those behind a GELU do.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from shared.classifier.linear import Linear

# What torch's own compiler calls for quantised layers; neither has a public name.
_PREPACK, _MULTIPLY = "qlinear_prepack", "qlinear_pointwise"
_LARGEST_WEIGHT = 127
_SMALLEST_STEP = 1e-12


@dataclass(frozen=True, slots=True)
class _Range:
    """Integers from 0 that inputs are rounded to: oneDNN multiplies by those with a sign 1000 times slower.

    Attributes:
        steps: between smallest and largest. middle: taken off to fit 8 bits with a sign, and added again without.
    """

    steps: int
    middle: int


_WHOLE = _Range(steps=255, middle=128)
# Without VNNI two products are added in 16 bits, which two of 255 x 127 overflow without a word; 127 x 127 do not.
_REDUCED = _Range(steps=127, middle=0)


def has_int8(device: str = "cpu") -> bool:
    """Whether it is a CPU, and this torch has the operators, under the names that we know."""
    has_onednn = torch.device(device).type == "cpu" and bool(getattr(torch._C, "_has_mkldnn", False))
    return has_onednn and all(hasattr(torch.ops.onednn, name) for name in (_PREPACK, _MULTIPLY))


def int8_linear(weight: torch.Tensor, bias: torch.Tensor, *, gelu: bool = False) -> Linear:
    """As `answering_linear`, from float32 to float32, multiplied in integers; weight and bias are copied."""
    return _linear(weight.detach(), bias.detach().clone(), gelu, _range())


def _linear(weight: torch.Tensor, bias: torch.Tensor, gelu: bool, integers: _Range) -> Linear:
    onednn: Any = torch.ops.onednn
    scales = weight.abs().amax(1, keepdim=True).div_(_LARGEST_WEIGHT).clamp_min_(_SMALLEST_STEP)
    rounded = (weight / scales).round_()
    packed = onednn.qlinear_prepack(rounded.to(torch.int8), None)
    by_output, zeros = scales.flatten(), torch.zeros(len(bias), dtype=torch.int64)
    sums = rounded.sum(1) * by_output

    def answer(rows: torch.Tensor) -> torch.Tensor:
        inputs = _Rounded.of(rows, integers)
        found: torch.Tensor = onednn.qlinear_pointwise(
            inputs.integers, 1.0, 0, packed, by_output, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        found.mul_(inputs.steps).add_(bias).addcmul_(inputs.lowest, sums)
        return torch.ops.aten.gelu_(found) if gelu else found

    return answer


@dataclass(frozen=True, slots=True)
class _Rounded:
    """(n, in) rows as `lowest + steps * integers`.

    Attributes:
        integers: (n, in) unsigned. steps, lowest: (n, 1).
    """

    integers: torch.Tensor
    steps: torch.Tensor
    lowest: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor, to: _Range) -> "_Rounded":
        # One after the other: torch finds both at once thirty times slower.
        lowest, highest = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
        steps = (highest - lowest).div_(to.steps).clamp_min_(_SMALLEST_STEP)
        # To signed and on, with a sum that wraps: torch is ten times slower to convert to unsigned.
        signed = (rows - torch.add(lowest, steps, alpha=to.middle)).div_(steps).round_().to(torch.int8)
        return cls(signed.add_(-to.middle).view(torch.uint8), steps, lowest)


@cache
def _range() -> _Range:
    """The whole one if this machine multiplies the largest numbers right."""
    largest = torch.ones(_LARGEST_WEIGHT, _LARGEST_WEIGHT)
    rows = largest.clone()
    rows[:, 0] = 0
    found = _linear(largest, torch.zeros(_LARGEST_WEIGHT), False, _WHOLE)(rows)
    return _WHOLE if torch.allclose(found, rows @ largest, rtol=1e-3) else _REDUCED
