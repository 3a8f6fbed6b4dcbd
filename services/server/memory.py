"""Memory of a server that swaps models for weeks: what was freed goes back to the system, what stays is left alone.

glibc keeps what is freed, in a pool for each of many threads, and blocks of the size of weights lie scattered in them.
Blocks of the size of a layer's outputs it takes from the system at every call and gives back after it, which the system
makes good page by page: a seventh of the time of a forward pass in int8.
Python looks through all objects now and then while everything waits: a third of a second with torch and MLflow.
"""

import ctypes
import gc
from typing import Any

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
LEAST_POOLS = 2  # of the event loop and the model
KEPT_BYTES = 256 * 1024 * 1024  # at the end of a pool, until `give_back`
LARGEST_POOLED_BYTES = 32 * 1024 * 1024  # the most that glibc takes


def set_up(threads: int) -> None:
    """Few pools that keep what the next request will need. Call it at start, before there are threads.

    Elsewhere than on glibc it does nothing.
    Args:
        threads: of the tokenizer, which allocates for every word: two of them that share a pool take longer than one.
            There are as many pools; others may share them.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(M_ARENA_MAX, max(LEAST_POOLS, threads))
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_POOLED_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """After a model was let go. It takes some milliseconds, in which whoever allocates waits.

    Of a GPU too, which torch keeps what was freed of: others may compute on the same one.
    """
    torch.cuda.empty_cache()  # where there is none it does nothing
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def settle() -> None:
    """Once all libraries are loaded: from now on only what is made later is looked through for garbage."""
    gc.collect()
    gc.freeze()


def _glibc() -> Any:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
