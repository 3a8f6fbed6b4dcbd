"""Cuts the stream of unlabelled text into windows: which rows are kept, when a window is full, what its manifest says.

Nobody contradicts anybody here, and nothing is marked test: a row is kept, or repeats an earlier one.
"""

from collections.abc import Iterable
from datetime import datetime

from services.ingestor.duplicates import DuplicateIndex, Signatures
from services.ingestor.kinds import UNLABELED
from services.ingestor.manifest import build_unlabeled_manifest
from services.ingestor.open_window import OpenWindow
from services.ingestor.split import check_same
from services.ingestor.triggers import Closing, UnlabeledTriggers
from shared.archive import Archive, UnlabeledRow
from shared.events import Snapshot, UnlabeledReview, UnlabeledWindow
from shared.settings import IngestorSettings
from shared.text import NORMALISER_VERSION, canonical

_ONE_LABEL = 0  # to the index of duplicates, text without labels is text that all has the same


class UnlabeledWindower:
    """The open window of unlabelled text, with all that decides about it."""

    def __init__(self, ingestor: IngestorSettings) -> None:
        self._duplicates = ingestor.duplicates
        self._triggers = UnlabeledTriggers(ingestor.unlabeled)
        self.split = ingestor.split.record(NORMALISER_VERSION)
        self.resume(None, ())

    def resume(self, last: UnlabeledWindow | None, earlier: Iterable[Signatures]) -> None:
        """Begins an empty window after the last closed one; arguments and error as of `Windower.resume`."""
        if last is not None:
            check_same(last.split, self.split)
        self._known = DuplicateIndex(self._duplicates, earlier)
        self._begin_after(last)

    def _begin_after(self, closed: UnlabeledWindow | None) -> None:
        self.window: OpenWindow[UnlabeledRow] = OpenWindow(UNLABELED, closed)

    def add(self, offset: int, review: UnlabeledReview, trace_parent: str | None = None) -> None:
        """Takes the next review.

        Raises:
            LedgerCorruptError: It is in a closed window already.
        """
        seen = self._known.observe(canonical(review.text), _ONE_LABEL)
        self.window.add(UnlabeledRow.of(offset, review), seen.set_aside)
        self.window.trace_parent = trace_parent

    def due(self, now: datetime | None) -> Closing | None:
        """Why the window closes now, if it does; `now` None while more reviews wait: age is judged when none do."""
        return self._triggers.look(self.window.counts(), now)

    def signatures(self) -> Signatures:
        """What later windows need to know of this one."""
        return self._known.signatures()

    def write(self, archive: Archive) -> Snapshot:
        """Archives the window; raises as `Archive.write` does."""
        return archive.write_unlabeled(self.window.window_id, list(self.window.kept()), self.signatures().to_bytes())

    def manifest(self, closing: Closing, snapshot: Snapshot, now: datetime) -> UnlabeledWindow:
        """What is published of the window."""
        return build_unlabeled_manifest(self.window, closing, snapshot, split=self.split, closed_at=now)

    def forget(self, closed: UnlabeledWindow) -> None:
        """Goes on to the next window; this one is published."""
        self._known.next_window()
        self._begin_after(closed)
