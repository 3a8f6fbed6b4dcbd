"""One job at a time in a run folder."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from services.retrainer.runs import WorkFolder
from shared.errors import TrainingError

# The kernel kills an old job with its service, so a lock is held this long only where the kernel does not.
LOCK_SECONDS = 60.0


@contextmanager
def alone_in(run: WorkFolder) -> Iterator[None]:
    """Holds the run folder.

    Raises:
        TrainingError: Another process holds it, and does not let go.
    """
    lock = FileLock(run.lock_file, timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except TimeoutError as error:
        raise TrainingError(f"{run.lock_file} is held by another job; end that one") from error
    try:
        yield
    finally:
        lock.release()
