"""Who holds a home folder: one supervisor at a time, known to everybody by a lock that ends with its process."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shared.errors import ConfigurationError

LOCK = "supervisor.lock"
# Somebody who asks for the holder has the lock for an instant.
PATIENCE_SECONDS = 1.0
TRY_SECONDS = 0.02


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Holds the home for this process.

    Raises:
        ConfigurationError: Another process holds it.
    """
    with (home / LOCK).open("a+") as lock:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _acquire(lock):
            if time.monotonic() > deadline:
                raise ConfigurationError(f"a stack is running on {home}; 'tidemill down' stops it")
            time.sleep(TRY_SECONDS)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(home: Path) -> int | None:
    """The process that holds the home, if one does. It is alive: the lock would have ended with it."""
    try:
        with (home / LOCK).open("r") as lock:
            return None if _acquire(lock) else int(lock.read() or 0) or None
    except FileNotFoundError:
        return None


def _acquire(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
