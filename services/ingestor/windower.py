"""Cuts the stream of curated reviews into windows: which rows are kept, when a window is full, what its manifest says.

Knows nothing of where reviews come from; `windowing.py` feeds it and publishes what it cuts.
"""

from collections.abc import Iterable
from datetime import datetime

from services.ingestor.duplicates import DuplicateIndex, Signatures
from services.ingestor.kinds import LABELED
from services.ingestor.manifest import build_manifest
from services.ingestor.open_window import OpenWindow
from services.ingestor.split import check_same, is_split_conflict
from services.ingestor.triggers import Closing, Triggers, not_trainable_because
from shared.archive import Archive, WindowRow
from shared.errors import LedgerCorruptError
from shared.events import ClosedWindow, Command, CommandKind, CuratedReview, Snapshot, Trigger
from shared.settings import IngestorSettings, StreamSettings
from shared.text import NORMALISER_VERSION, canonical


class Windower:
    """The open window with all that decides about it: earlier texts, triggers, the stream's split."""

    def __init__(self, stream: StreamSettings, ingestor: IngestorSettings) -> None:
        self._labels, self._settings = stream.labels, ingestor
        self._triggers = Triggers(ingestor.window)
        self.split = ingestor.split.record(NORMALISER_VERSION)
        self.resume(None, ())

    def resume(self, last: ClosedWindow | None, earlier: Iterable[Signatures]) -> None:
        """Begins an empty window after the last closed one.

        Args:
            last: The newest manifest; None before the first.
            earlier: What is remembered of the last windows, the oldest first.

        Raises:
            ConfigurationError: The stream was begun with another split.
        """
        if last is not None:
            check_same(last.split, self.split)
        self._known = DuplicateIndex(self._settings.duplicates, earlier)
        self._begin_after(last)

    def _begin_after(self, closed: ClosedWindow | None) -> None:
        self.window: OpenWindow[WindowRow] = OpenWindow(LABELED, closed, len(self._labels))

    def add(self, offset: int, review: CuratedReview, trace_parent: str | None = None) -> None:
        """Takes the next review.

        Raises:
            LedgerCorruptError: It is in a closed window already, or not of this stream.
        """
        if review.label >= len(self._labels):
            raise LedgerCorruptError(f"reviews.curated@{offset} has label {review.label}; known: {list(self._labels)}")
        conflict = is_split_conflict(review.side, review.marked_test)
        seen = self._known.observe(canonical(review.text), review.label, conflict)
        self.window.add(WindowRow.of(offset, review), seen.set_aside, seen.overturned)
        self.window.trace_parent = trace_parent

    def due(self, now: datetime | None) -> Closing | None:
        """Why the window closes now, if it does; `now` None while more reviews wait: age is judged when none do."""
        return self._triggers.look(self.window.counts(), now)

    def asked(self, command: Command) -> Closing | None:
        """Why the open window closes on order; None if it is empty, or not the one that is meant."""
        if command.kind is CommandKind.DRIFT:
            return self._drifted(command)
        if not self.window or command.target not in (None, self.window.window_id):
            return None
        return Closing(Trigger.OPERATOR, f"{command.who}: {command.why} (command {command.command_id})")

    def _drifted(self, command: Command) -> Closing | None:
        """Only a window that holds what drifted, so that an order counts once, and that something can be learned from.

        A window that is too small to learn from grows on: what it will learn then is the changed stream all the same.
        """
        is_ours = (command.target or "").isdecimal() and int(command.target or 0) >= self.window.first_offset >= 0
        if not is_ours or not_trainable_because(self.window.counts(), self._settings.window.min_rows):
            return None
        return Closing(Trigger.DRIFT, f"{command.why} (command {command.command_id})")

    def signatures(self) -> Signatures:
        """What later windows need to know of this one."""
        return self._known.signatures()

    def write(self, archive: Archive) -> Snapshot:
        """Archives the window; raises as `Archive.write` does."""
        return archive.write(self.window.window_id, list(self.window.kept()), self.signatures().to_bytes())

    def manifest(self, closing: Closing, snapshot: Snapshot, now: datetime) -> ClosedWindow:
        """What is published of the window."""
        return build_manifest(
            self.window,
            closing,
            snapshot,
            label_names=self._labels,
            split=self.split,
            min_rows=self._settings.window.min_rows,
            closed_at=now,
        )

    def forget(self, closed: ClosedWindow) -> None:
        """Goes on to the next window; this one is published."""
        self._known.next_window()
        self._begin_after(closed)
