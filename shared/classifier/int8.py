"""Linear layers in 8-bit integers, for CPUs that multiply those fastest (VNNI: AVX-512 or AVX).

Weights are rounded once, one scale for each output; inputs at every call, one scale for each token, so that a text's
answer does not depend on its company. Source: the dynamic quantisation of Yao et al., "ZeroQuant", arXiv:2206.01861.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from shared.classifier.linear import Linear

# What torch's own compiler calls for quantised layers; neither has a public name.
_PREPACK, _MULTIPLY = "qlinear_prepack", "qlinear_pointwise"
_LARGEST_WEIGHT = 127
_SMALLEST_SCALE = 1e-12


@dataclass(frozen=True, slots=True)
class _Range:
    """Integers that inputs are rounded to: unsigned ones, since by signed ones oneDNN multiplies 1000 times slower.

    Attributes:
        largest: of either sign. zero: what stands for 0, taken off again by oneDNN. offset: what makes it so, added to
            8 bits with a sign.
    """

    largest: int
    zero: int
    offset: int


_WHOLE = _Range(largest=127, zero=128, offset=-128)
# Without VNNI two products are added in 16 bits, which two of 255 x 127 overflow without a word; 127 x 127 do not.
_REDUCED = _Range(largest=63, zero=64, offset=64)


def has_int8() -> bool:
    """Whether this torch has the operators, under the names that we know."""
    has_onednn = bool(getattr(torch._C, "_has_mkldnn", False))
    return has_onednn and all(hasattr(torch.ops.onednn, name) for name in (_PREPACK, _MULTIPLY))


def int8_linear(weight: torch.Tensor, bias: torch.Tensor, *, gelu: bool = False) -> Linear:
    """As `answering_linear`, from float32 to float32, multiplied in integers; weight and bias are copied."""
    return _linear(weight.detach(), bias.detach().clone(), gelu, _range())


def _linear(weight: torch.Tensor, bias: torch.Tensor, gelu: bool, integers: _Range) -> Linear:
    onednn: Any = torch.ops.onednn
    scales = _scales(weight, _LARGEST_WEIGHT)
    packed = onednn.qlinear_prepack((weight / scales).round_().to(torch.int8), None)
    by_output, zeros = scales.flatten(), torch.zeros(len(bias), dtype=torch.int64)

    def answer(rows: torch.Tensor) -> torch.Tensor:
        by_row = _scales(rows, integers.largest)
        found: torch.Tensor = onednn.qlinear_pointwise(
            _rounded(rows, by_row, integers), 1.0, integers.zero, packed, by_output, zeros, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        found.mul_(by_row).add_(bias)
        return torch.ops.aten.gelu_(found) if gelu else found

    return answer


def _scales(rows: torch.Tensor, largest: int) -> torch.Tensor:
    """(n, 1): what makes the largest value of each row that integer."""
    # Largest and smallest are many times faster than a norm over rows.
    extreme = torch.maximum(rows.amax(1, keepdim=True), rows.amin(1, keepdim=True).neg_())
    return extreme.div_(largest).clamp_min_(_SMALLEST_SCALE)


def _rounded(rows: torch.Tensor, scales: torch.Tensor, integers: _Range) -> torch.Tensor:
    """(n, in) unsigned. To signed and on, with a sum that wraps: torch is ten times slower to convert to unsigned."""
    signed = (rows / scales).round_().to(torch.int8)
    return signed.add_(integers.offset).view(torch.uint8)


@cache
def _range() -> _Range:
    """The whole one if this machine multiplies the largest numbers right."""
    largest = torch.ones(_LARGEST_WEIGHT, _LARGEST_WEIGHT)
    found = _linear(largest, torch.zeros(_LARGEST_WEIGHT), False, _WHOLE)(largest)
    return _WHOLE if torch.allclose(found, largest @ largest, rtol=1e-3) else _REDUCED
