"""Which held-out rows decide about a challenger: the latest ones at its birth and all that came since, each once.

At its birth that is the pool of the latest `pool_rows` held-out rows over all windows up to its own, the fresh ones
included: no model was ever trained on any of them, so a new challenger can be scored on all at once. An undecided one
is looked at again with every later window, on the same rows and the new ones. Its evidence is always recomputed from
rows and answers, never added to: nothing can be counted twice. Windows beyond the newest candidate's stay out although
they may be there already, so that a decision depends on the stream and not on how far behind the retrainer is.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from shared.archive import WindowRow
from shared.events import ClosedWindow, Side


@dataclass(frozen=True, slots=True)
class HeldOutRow:
    """One held-out review.

    `key` is the SHA-256 of the text, in hex: what a model's answer depends on, and what tells rows apart. The same
    review in two windows is one piece of evidence.
    """

    window_id: str
    offset: int
    key: str
    text: str
    label: int
    source: str | None = None


class Keyed(Protocol):
    """What is told apart by its text."""

    @property
    def key(self) -> str:
        """SHA-256 of the text, in hex."""


KeyedRow = TypeVar("KeyedRow", bound=Keyed)


def held_out(window_id: str, rows: Iterable[WindowRow]) -> tuple[HeldOutRow, ...]:
    """A window's hold-out, in the order of its offsets."""
    return tuple(
        HeldOutRow(window_id, row.offset, text_key(row.text), row.text, row.label, row.source)
        for row in rows
        if row.side is Side.HOLDOUT
    )


def text_key(text: str) -> str:
    """SHA-256 of the text as UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def eligible(
    windows: Iterable[ClosedWindow], newest_window_id: str, quarantined: Collection[str]
) -> list[ClosedWindow]:
    """Windows whose hold-out may decide about the newest one's candidate: up to it, the newest first.

    The newest itself is among them whatever `quarantined` says: it is on trial. Empty if it is not known.
    """
    ordered = sorted(windows, key=lambda window: -window.sequence)
    start = next((place for place, window in enumerate(ordered) if window.window_id == newest_window_id), len(ordered))
    return [
        window
        for window in ordered[start:]
        if window.window_id == newest_window_id or window.window_id not in quarantined
    ]


def latest_rows(newest_first: Iterable[Sequence[KeyedRow]], size: int) -> tuple[KeyedRow, ...]:
    """The latest `size` rows in the order of the stream; of the same text, only the latest.

    Args: newest_first: hold-outs of windows, the newest window first, each in the order of its offsets. Windows
    beyond those that fill the pool are not taken from the iterable, so they need not even be read.
    """
    found: dict[str, KeyedRow] = {}
    for rows in newest_first:
        for row in reversed(rows):
            found.setdefault(row.key, row)
            if len(found) == size:
                return tuple(reversed(found.values()))
    return tuple(reversed(found.values()))


def rows_since_birth(
    newest_first: Sequence[tuple[ClosedWindow, Sequence[HeldOutRow]]], birth: int, size: int
) -> dict[str, HeldOutRow]:
    """A challenger's rows by key: the pool as of the window with sequence `birth`, and all rows of later windows."""
    pool = latest_rows((rows for window, rows in newest_first if window.sequence <= birth), size)
    later = (row for window, rows in reversed(newest_first) if window.sequence > birth for row in rows)
    return {row.key: row for row in (*pool, *later)}


def first_rows_after(
    newest_first: Sequence[tuple[ClosedWindow, Sequence[HeldOutRow]]], sequence: int, most: int
) -> dict[str, HeldOutRow]:
    """The first `most` rows, by key, that arrived in windows after the one with this sequence."""
    arrived = (row for window, rows in reversed(newest_first) if window.sequence > sequence for row in rows)
    return {row.key: row for row in islice(arrived, most)}


def first_windows_after(newest_first: Sequence[ClosedWindow], sequence: int, most: int) -> list[str]:
    """The windows that hold the first `most` held-out rows after the one with this sequence; their rows stay unread."""
    windows, rows = list[str](), 0
    for window in reversed(newest_first):
        if window.sequence > sequence and rows < most:
            windows.append(window.window_id)
            rows += window.sides.get(Side.HOLDOUT, 0)
    return windows
