"""Which held-out rows decide about a challenger: the latest ones, its own window's among them, each once.

The rows of one look are the pool of the latest `pool_rows` held-out rows over all windows up to the candidate's own,
the fresh ones included: no model was ever trained on any of them, so a new challenger can be scored on all at once.
Later windows stay out although they may be there already, so that a decision depends on the stream up to its window
and not on how far behind the retrainer is.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

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


def held_out(window_id: str, rows: Iterable[WindowRow]) -> tuple[HeldOutRow, ...]:
    """A window's hold-out, in the order of its offsets."""
    return tuple(
        HeldOutRow(window_id, row.offset, text_key(row.text), row.text, row.label)
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


def latest_rows(newest_first: Iterable[Sequence[HeldOutRow]], size: int) -> tuple[HeldOutRow, ...]:
    """The latest `size` rows in the order of the stream; of the same text, only the latest.

    Args: newest_first: hold-outs of windows, the newest window first, each in the order of its offsets. Windows
    beyond those that fill the pool are not taken from the iterable, so they need not even be read.
    """
    found: dict[str, HeldOutRow] = {}
    for rows in newest_first:
        for row in reversed(rows):
            found.setdefault(row.key, row)
            if len(found) == size:
                return tuple(reversed(found.values()))
    return tuple(reversed(found.values()))
