"""What the evaluator knows of closed windows: their manifests, and their held-out rows from the archive."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.evaluator.pool import HeldOutRow, eligible, held_out, latest_rows
from shared.archive import WindowRow
from shared.envelope import decode
from shared.errors import SnapshotError
from shared.events import ClosedWindow, Side, Snapshot
from shared.kafka import Record

log = structlog.get_logger("windows")


class Snapshots(Protocol):
    """Where windows' rows are read from."""

    def read(self, snapshot: Snapshot) -> list[WindowRow]:
        """Verified rows; SnapshotError if missing or altered."""


class Manifests(Protocol):
    """Where manifests are read from."""

    def catch_up(self) -> Iterator[Record]:
        """Everything new up to now."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The rows that decide, and what could not be read for them."""

    rows: tuple[HeldOutRow, ...]
    label_counts: dict[str, int]
    unreadable: tuple[str, ...]


class WindowBook:
    """All manifests, and the hold-outs that the last pool was made of, so that a snapshot is read once."""

    def __init__(self, manifests: Manifests, archive: Snapshots) -> None:
        self._manifests, self._archive = manifests, archive
        self._windows: dict[str, ClosedWindow] = {}
        self._hold_outs: dict[str, tuple[HeldOutRow, ...]] = {}

    def refresh(self) -> None:
        """Reads the manifests that are new."""
        for record in self._manifests.catch_up():
            window = decode(ClosedWindow, record.value, record.where())
            self._windows[window.window_id] = window

    def knows(self, window_id: str) -> bool:
        """Whether the window was closed."""
        return window_id in self._windows

    def snapshots(self) -> dict[str, str]:
        """Window id -> SHA-256 of its snapshot."""
        return {window_id: window.snapshot.sha256 for window_id, window in self._windows.items()}

    def pool(self, newest_window_id: str, quarantined: Collection[str], size: int) -> Pool:
        """The pool as of a window; a snapshot that is missing or altered is left out and named.

        Raises: ArchiveUnavailableError if the archive could not be read.
        """
        windows = eligible(self._windows.values(), newest_window_id, quarantined)
        used: dict[str, tuple[HeldOutRow, ...]] = {}
        unreadable: list[str] = []
        rows = latest_rows(self._reading(windows, used, unreadable), size)
        self._hold_outs = used
        return Pool(rows, _label_counts(windows), tuple(unreadable))

    def _reading(
        self, windows: Sequence[ClosedWindow], used: dict[str, tuple[HeldOutRow, ...]], unreadable: list[str]
    ) -> Iterator[tuple[HeldOutRow, ...]]:
        for window in windows:
            if not window.sides.get(Side.HOLDOUT):
                continue
            try:
                used[window.window_id] = self._hold_out(window)
            except SnapshotError as error:
                log.error("window_left_out", window_id=window.window_id, error=str(error))
                unreadable.append(window.window_id)
            else:
                yield used[window.window_id]

    def _hold_out(self, window: ClosedWindow) -> tuple[HeldOutRow, ...]:
        known = self._hold_outs.get(window.window_id)
        return held_out(window.window_id, self._archive.read(window.snapshot)) if known is None else known


def _label_counts(windows: Sequence[ClosedWindow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for window in windows:
        for label, rows in window.labels.items():
            counts[label] = counts.get(label, 0) + rows
    return counts
