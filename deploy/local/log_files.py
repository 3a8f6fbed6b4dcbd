"""The stack's logs, within bounds while they are written: each is the log itself and one earlier part, `NAME.log.1`.

The writers hold their files open for as long as they run, so a log is copied and emptied in place; each writer opened
it to append, and goes on at its new end. What is written between copying and emptying, some microseconds, is lost.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

LOG_BYTES = 20 * 2**20


def bound(folder: Path, most: int = LOG_BYTES) -> Iterator[str]:
    """Begins every log of the folder anew that has grown beyond `most` bytes; says what went wrong, if anything did.

    A log that cannot be copied is emptied all the same: a full disk must not become fuller.
    """
    for log in folder.glob("*.log"):
        try:
            if log.stat().st_size > most:
                yield from _put_aside(log)
        except OSError as error:
            yield f"{log} is not bounded: {error}"


def _put_aside(log: Path) -> Iterator[str]:
    earlier = log.with_suffix(".log.1")
    try:
        earlier.unlink(missing_ok=True)  # its room may be needed
        shutil.copyfile(log, earlier)
    except OSError as error:
        yield f"the earlier part of {log} is lost: {error}"
    os.truncate(log, 0)
