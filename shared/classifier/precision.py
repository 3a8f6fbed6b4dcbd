"""fp32 or bf16, by what the machine says it can do.

On a CPU with bf16 instructions it is about twice as fast as fp32; on one without them more than ten times
slower, since every value is converted in software. So the hardware is asked, never assumed.
"""

from typing import Literal

import torch

from shared.errors import ConfigurationError

Precision = Literal["fp32", "bf16"]
PrecisionSetting = Literal["auto", "fp32", "bf16"]

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def choose_device(setting: str = "auto") -> str:
    """`auto` is the GPU when there is one, else the CPU; anything else is taken as torch's name of a device."""
    if setting != "auto":
        return setting
    return "cuda" if torch.cuda.is_available() else "cpu"


def supports_bf16(device: str) -> bool:
    """Whether the device computes in bf16 natively, not by emulation."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def choose_precision(setting: PrecisionSetting, device: str) -> Precision:
    """`auto` is bf16 where the device has it, else fp32.

    Raises: ConfigurationError if bf16 is demanded of a device without it.
    """
    if setting == "fp32":
        return "fp32"
    if supports_bf16(device):
        return "bf16"
    if setting == "bf16":
        raise ConfigurationError(f"precision bf16: {device} has no bf16 instructions here; set auto or fp32")
    return "fp32"


def torch_dtype(precision: Precision) -> torch.dtype:
    """The element type of weights held in this precision."""
    return _DTYPES[precision]


def precision_of(dtype: torch.dtype) -> Precision:
    """The precision that weights of this element type are held in."""
    return next(precision for precision, known in _DTYPES.items() if known is dtype)
