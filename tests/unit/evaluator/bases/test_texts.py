"""The newest held-out texts up to a window, each once, and none that anybody trained on."""

from datetime import UTC, datetime

import pytest

from services.evaluator.bases.texts import TextBook
from shared.archive import UnlabeledRow
from shared.errors import ArchiveUnavailableError, SnapshotMissingError
from shared.events import Side, Snapshot
from tests.unit.evaluator.bases.builders import text_window, text_window_id

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def row(offset: int, text: str, side: Side = Side.HOLDOUT) -> UnlabeledRow:
    return UnlabeledRow(offset, str(offset), text, side, None, None, 0, offset, NOW)


class Snapshots:
    """Windows' rows by the path of their snapshots; a missing one is lost. Remembers what was read."""

    def __init__(self, rows: dict[int, list[UnlabeledRow]], failure: Exception | None = None) -> None:
        self._rows = {f"unlabeled/{text_window_id(sequence)}": found for sequence, found in rows.items()}
        self._failure, self.read = failure, list[str]()

    def read_unlabeled(self, snapshot: Snapshot) -> list[UnlabeledRow]:
        self.read.append(snapshot.path)
        if self._failure is not None:
            raise self._failure
        if snapshot.path not in self._rows:
            raise SnapshotMissingError("there is no file")
        return self._rows[snapshot.path]


def book(snapshots: Snapshots, windows: int = 3) -> TextBook:
    found = TextBook(snapshots)
    for sequence in range(windows):
        found.enter(text_window(sequence))
    return found


def test_only_the_hold_out_and_nothing_of_later_windows() -> None:
    rows = {
        0: [row(1, "old"), row(2, "learned", Side.TRAIN), row(3, "looked at", Side.VALIDATION)],
        1: [row(1001, "new")],
        2: [row(2001, "later")],
    }
    assert book(Snapshots(rows)).latest(text_window_id(1), 10).texts == ("old", "new")


def test_the_newest_are_taken_and_older_windows_stay_unread() -> None:
    snapshots = Snapshots({0: [row(1, "a")], 1: [row(1001, "b"), row(1002, "c")], 2: [row(2001, "d")]})
    assert book(snapshots).latest(text_window_id(2), 2).texts == ("c", "d")
    assert len(snapshots.read) == 2


def test_a_text_that_came_again_counts_once() -> None:
    rows = {0: [row(1, "again"), row(2, "once")], 1: [row(1001, "again")]}
    assert book(Snapshots(rows), 2).latest(text_window_id(1), 10).texts == ("once", "again")


def test_a_lost_snapshot_costs_its_rows_and_is_named() -> None:
    found = book(Snapshots({0: [row(1, "a")], 2: [row(2001, "d")]})).latest(text_window_id(2), 10)
    assert (found.texts, found.unreadable) == (("a", "d"), (text_window_id(1),))


def test_an_archive_that_is_away_is_waited_for() -> None:
    with pytest.raises(ArchiveUnavailableError):
        book(Snapshots({}, ArchiveUnavailableError("gone"))).latest(text_window_id(2), 10)


def test_windows_that_nobody_closed_are_unknown() -> None:
    assert book(Snapshots({})).unknown([text_window_id(2), text_window_id(3)]) == [text_window_id(3)]
