"""How many CPU threads this process may use for a model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_threads(count: int) -> None:
    """Bounds torch's and the tokenizers' threads; call it once at start, before the first model.

    TOKENIZERS_PARALLELISM is always set, because unset, a later fork warns and turns parallelism off by itself.
    """
    torch.set_num_threads(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if count > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(count)


def threads_on(device: str) -> int:
    """Of a forward pass there: as torch is set up, or the one that keeps a GPU busy."""
    return torch.get_num_threads() if torch.device(device).type == "cpu" else 1


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """So many of torch's threads for the calls that this thread makes in the block."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
