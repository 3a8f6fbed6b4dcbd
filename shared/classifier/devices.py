"""When a GPU is lost to a process."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from shared.errors import DeviceLostError


@contextmanager
def lost_devices() -> Iterator[None]:
    """Errors after which every call to the device fails are told apart; want of its memory is none of them.

    Source: the CUDA runtime's documentation of errors that leave the process in an inconsistent state.
    Raises:
        DeviceLostError: There was one.
    """
    try:
        yield
    except torch.AcceleratorError as error:
        reason = str(error).splitlines()[0]
        raise DeviceLostError(f"the GPU computes nothing more for this process ({reason}); start another") from error
