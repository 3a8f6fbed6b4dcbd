"""Memory that was freed goes back to the system: a server that swaps models for weeks should not look ever larger.

glibc keeps what is freed, in a pool for each of many threads, and blocks of the size of weights lie scattered in them.
"""

import ctypes
from typing import Any

M_ARENA_MAX = -8  # malloc.h
POOLS = 2  # of the event loop and the model: whoever else allocates shares them


def use_few_pools() -> None:
    """Call it at start, before there are threads. Elsewhere than on glibc it does nothing."""
    if (libc := _glibc()) is not None:
        libc.mallopt(M_ARENA_MAX, POOLS)


def give_back() -> None:
    """After a model was let go. It takes some milliseconds, in which whoever allocates waits."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
