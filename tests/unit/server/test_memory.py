"""What models leave behind goes back to the system."""

import gc
import sys

import psutil
import pytest

from services.server.memory import give_back, set_up, settle

MEBIBYTE = 1024 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_blocks_below_one_that_is_kept_are_given_back() -> None:
    set_up(threads=1)
    process = psutil.Process()
    blocks = [bytearray(64 * 1024) for _ in range(4096)]  # small enough for the heap, too small for a map of their own
    kept = bytearray(1024)
    full = process.memory_info().rss
    blocks.clear()
    give_back()
    assert process.memory_info().rss < full - 128 * MEBIBYTE
    assert len(kept) == 1024


def test_what_is_settled_is_not_looked_through_again() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    try:
        settle()
        assert not any(each is cycle for each in gc.get_objects())
    finally:
        gc.unfreeze()
