"""What the evaluator knows of windows of unlabelled text: their manifests, and their held-out reviews."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.evaluator.pool import latest_rows, text_key
from shared.archive import UnlabeledRow
from shared.errors import SnapshotError
from shared.events import Side, Snapshot, UnlabeledWindow

log = structlog.get_logger("texts")


class Snapshots(Protocol):
    """Where windows' rows are read from."""

    def read_unlabeled(self, snapshot: Snapshot) -> list[UnlabeledRow]:
        """Verified rows; SnapshotError if missing or altered."""


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """One held-out unlabelled review, told apart by its text as labelled ones are."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class LatestTexts:
    """The newest held-out texts, each once, in the order of the stream; and windows that could not be read."""

    texts: tuple[str, ...]
    unreadable: tuple[str, ...]


class TextBook:
    """All manifests of windows of unlabelled text."""

    def __init__(self, archive: Snapshots) -> None:
        self._archive = archive
        self._windows: dict[str, UnlabeledWindow] = {}

    def enter(self, window: UnlabeledWindow) -> None:
        """Takes a manifest."""
        self._windows[window.window_id] = window

    def unknown(self, window_ids: Collection[str]) -> list[str]:
        """Those of the windows that were not closed."""
        return [window_id for window_id in window_ids if window_id not in self._windows]

    def latest(self, newest_window_id: str, size: int) -> LatestTexts:
        """The newest `size` held-out texts up to a window that is known.

        Those of later windows stay out although they may be there already, as in the pool of labelled rows.
        Raises: ArchiveUnavailableError if the archive could not be read.
        """
        last, unreadable = self._windows[newest_window_id].sequence, list[str]()

        def held_out(window: UnlabeledWindow) -> list[HeldOutText]:
            try:
                rows = self._archive.read_unlabeled(window.snapshot)
            except SnapshotError as error:
                log.error("window_left_out", window_id=window.window_id, error=str(error))
                unreadable.append(window.window_id)
                return []
            return [HeldOutText(text_key(row.text), row.text) for row in rows if row.side is Side.HOLDOUT]

        newest_first = sorted(self._windows.values(), key=lambda window: -window.sequence)
        holding = (window for window in newest_first if window.sequence <= last and window.sides.get(Side.HOLDOUT))
        found = latest_rows(map(held_out, holding), size)
        return LatestTexts(tuple(text.text for text in found), tuple(unreadable))
