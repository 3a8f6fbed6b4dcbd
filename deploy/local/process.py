"""Starting a program so that it can neither outlive nor be confused with anything else."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from shared.errors import UnreachableError

PR_SET_PDEATHSIG = 1
PROBE_SECONDS = 0.02
# Safe path: a folder `shared` where somebody happens to stand must not stand in for ours.
PYTHON_MODULE = (sys.executable, "-P", "-m")
STOP_SECONDS = 60.0
# Loaded before the fork: between fork and exec almost nothing is safe to call.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def spawn(argv: Sequence[str | Path], log: IO[bytes], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, its output in `log`, and gets it SIGTERM when this thread ends.

    The kernel watches the thread that called, not the process: call from the main thread.
    """
    parent = os.getpid()
    return subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        start_new_session=True,
        preexec_fn=lambda: _die_with(parent),
    )


def stop(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Ends a process by SIGTERM, or after that time by SIGKILL; gives its exit status."""
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return kill(process)


def kill(process: subprocess.Popen[bytes]) -> int:
    """Ends a process and its whole group at once; gives its exit status."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    return process.wait()


def wait_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns once it is ready; else ends it.

    Raises:
        UnreachableError: It ended by itself, or was not ready in time; `what` says what it is and where its log lies.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            kill(process)
            raise UnreachableError(f"{what} did not start")
        time.sleep(PROBE_SECONDS)


class Held(ABC):
    """A program that is started, stopped and killed by the process that holds it, on the same files and ports."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Starts it and returns once it answers. Raises UnreachableError if it does not."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process else None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Lets it end in order, or kills it after that time."""
        if self._process:
            stop(self._process, seconds)
            self._process = None

    def kill(self) -> None:
        """Ends it as a crash would."""
        if self._process:
            kill(self._process)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _die_with(parent: int) -> None:
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
