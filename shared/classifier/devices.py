"""When a GPU is lost to a process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from shared.errors import DeviceLostError

# Of the CUDA runtime, whose documentation says of these that the process must be ended: memory that is damaged or was
# never there, a kernel that broke off, a context that is gone. Want of memory and wrong calls are none of them.
LASTING = frozenset({214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719})

Tell = Callable[[DeviceLostError], None]


def nobody(error: DeviceLostError) -> None:
    """To whom it matters no more than any other failure."""


@contextmanager
def lost_devices(tell: Tell) -> Iterator[None]:
    """Tells, and raises, when a device will compute nothing more for this process; other errors are left as they are.

    Source: the CUDA runtime's documentation of `cudaError_t`.
    Raises:
        DeviceLostError: It is of no use to ask again.
    """
    try:
        yield
    except torch.AcceleratorError as error:
        if getattr(error, "error_code", None) not in LASTING:
            raise
        reason = str(error).splitlines()[0]
        lost = DeviceLostError(f"the GPU computes nothing more for this process ({reason}); start another")
        tell(lost)
        raise lost from error
