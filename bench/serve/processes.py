"""What a server's processes have cost: processor time and memory of a process and all below it."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil
import torch

MIB = 1024 * 1024
LOOK_SECONDS = 0.2
END_SECONDS = 20.0


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def processor_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes and all below them, those that have ended included."""
    total = 0.0
    for process in _all(pids):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_mib(pids: Sequence[int]) -> float:
    """Resident memory; pages that several of them share count for each."""
    total = 0
    for process in _all(pids):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / MIB


def _all(pids: Sequence[int]) -> list[psutil.Process]:
    return [process for pid in pids for process in family(pid)]


def end_family(pid: int) -> None:
    """Asks the process to end, and ends what is left of it and of all below it."""
    members = family(pid)
    for process in members[:1]:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(members[:1], END_SECONDS)
    alive += [process for process in members[1:] if process.is_running()]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, END_SECONDS)


def gpu_mib(device: str) -> float:
    """Of a GPU, in use by whomever."""
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) / MIB


class MemoryWatch:
    """Notes memory in use until the block ends: (monotonic seconds, MiB)."""

    def __init__(self, in_use: Callable[[], float]) -> None:
        """Args: in_use: MiB."""
        self._in_use = in_use
        self.looks: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.looks.append((time.monotonic(), self._in_use()))
