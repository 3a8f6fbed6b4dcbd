"""Hold-outs are read once; a snapshot that is lost costs its rows, not the decision."""

from collections.abc import Iterator

import pytest

from services.evaluator.windows import WindowBook
from shared.archive import WindowRow
from shared.envelope import encode
from shared.errors import ArchiveUnavailableError, SnapshotError, TidemillError
from shared.events import ClosedWindow, Side, Snapshot
from shared.kafka import Record
from tests.unit.evaluator.builders import NOW, snapshot_row, window, window_id


class Topic:
    """Manifests, each read once."""

    def __init__(self, *windows: ClosedWindow) -> None:
        self.unread = list(windows)

    def catch_up(self) -> Iterator[Record]:
        while self.unread:
            yield Record("windows.closed", 0, 0, NOW, None, encode(self.unread.pop(0)), {})


class Snapshots:
    """Three held-out rows a window, and a note of every reading."""

    def __init__(self, broken: dict[str, TidemillError] | None = None) -> None:
        self.broken, self.read_paths = broken or {}, list[str]()

    def read(self, snapshot: Snapshot) -> list[WindowRow]:
        self.read_paths.append(snapshot.path)
        if snapshot.path in self.broken:
            raise self.broken[snapshot.path]
        return [snapshot_row(place, f"{snapshot.path} {place}") for place in range(3)]


def path(sequence: int) -> str:
    return window(sequence).snapshot.path


def book(snapshots: Snapshots, *windows: ClosedWindow) -> WindowBook:
    book = WindowBook(Topic(*windows), snapshots)
    book.refresh()
    return book


def test_a_window_is_known_once_its_manifest_was_read() -> None:
    known = book(Snapshots(), window(0))
    assert (known.knows(window_id(0)), known.knows(window_id(1))) == (True, False)


def test_the_pool_counts_labels_of_all_its_windows() -> None:
    pool = book(Snapshots(), window(0), window(1)).pool(window_id(1), frozenset(), 100)
    assert (len(pool.rows), pool.label_counts) == (6, {"negative": 1200, "positive": 800})


def test_a_snapshot_is_read_once_for_all_decisions() -> None:
    snapshots = Snapshots()
    windows = book(snapshots, window(0), window(1))
    for newest in (0, 1):
        windows.pool(window_id(newest), frozenset(), 100)
    assert snapshots.read_paths == [path(0), path(1)]


def test_a_window_without_held_out_rows_is_not_read() -> None:
    snapshots = Snapshots()
    book(snapshots, window(0, sides={Side.TRAIN: 9})).pool(window_id(0), frozenset(), 100)
    assert snapshots.read_paths == []


def test_an_altered_snapshot_is_left_out_and_named() -> None:
    snapshots = Snapshots({path(0): SnapshotError("altered")})
    pool = book(snapshots, window(0), window(1)).pool(window_id(1), frozenset(), 100)
    assert ([row.window_id for row in pool.rows], pool.unreadable) == ([window_id(1)] * 3, (window_id(0),))


def test_an_archive_that_does_not_answer_is_waited_for() -> None:
    snapshots = Snapshots({path(0): ArchiveUnavailableError("not mounted")})
    with pytest.raises(ArchiveUnavailableError):
        book(snapshots, window(0)).pool(window_id(0), frozenset(), 100)
