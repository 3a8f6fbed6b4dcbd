"""Hold-outs are read once; a snapshot that is lost costs its rows, not the decision."""

from collections.abc import Collection, Iterator

import pytest

from services.evaluator.windows import TrialRows, WindowBook
from shared.archive import WindowRow
from shared.envelope import encode
from shared.errors import ArchiveUnavailableError, SnapshotError, TidemillError
from shared.events import ClosedWindow, Side, Snapshot
from shared.gate_settings import EraSettings, GateSettings
from shared.kafka import Record
from shared.rebuilds import LeftOut
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


class Numbered(Snapshots):
    """Rows with the offsets that they have in the stream."""

    def read(self, snapshot: Snapshot) -> list[WindowRow]:
        first = int(snapshot.path[-10:])
        return [snapshot_row(first + place, f"{snapshot.path} {place}") for place in range(3)]


def path(sequence: int) -> str:
    return window(sequence).snapshot.path


def book(snapshots: Snapshots, *windows: ClosedWindow) -> WindowBook:
    book = WindowBook(Topic(*windows), snapshots)
    book.refresh()
    return book


def test_a_record_that_is_no_window_is_passed_over() -> None:
    strange = Record("windows.closed", 0, 0, NOW, None, b"hello", {})

    class Strange(Topic):
        def catch_up(self) -> Iterator[Record]:
            yield strange
            yield from super().catch_up()

    found = WindowBook(Strange(window(1)), Snapshots())
    found.refresh()
    assert found.find(window_id(1)) == window(1)
    assert found.find(window_id(0)) is None


def on_trial(
    windows: WindowBook, newest: int, *older: int, pool_rows: int = 100, promotion: int | None = None, since: int = 100
) -> TrialRows:
    gate = GateSettings(pool_rows=pool_rows, anchor_rows=since, eras=EraSettings(windows=2, rows=4))
    return windows.rows_on_trial(
        window_id(newest),
        frozenset(),
        births={window_id(birth) for birth in (newest, *older)},
        promotion=None if promotion is None else window_id(promotion),
        gate=gate,
    )


def windows_of(keys: Collection[str], rows: TrialRows) -> list[str]:
    return sorted({row.window_id for row in rows.rows if row.key in keys})


def test_a_window_is_known_once_its_manifest_was_read() -> None:
    known = book(Snapshots(), window(0))
    assert (known.knows(window_id(0)), known.knows(window_id(1))) == (True, False)


def test_the_pool_counts_labels_of_all_its_windows() -> None:
    pool = on_trial(book(Snapshots(), window(0), window(1)), 1)
    assert (len(pool.rows), pool.label_counts) == (6, {"negative": 1200, "positive": 800})


def test_a_snapshot_is_read_once_for_all_decisions() -> None:
    snapshots = Snapshots()
    windows = book(snapshots, window(0), window(1))
    for newest in (0, 1):
        on_trial(windows, newest)
    assert snapshots.read_paths == [path(0), path(1)]


def test_a_window_without_held_out_rows_is_not_read() -> None:
    snapshots = Snapshots()
    on_trial(book(snapshots, window(0, sides={Side.TRAIN: 9})), 0)
    assert snapshots.read_paths == []


def test_an_altered_snapshot_is_left_out_and_named() -> None:
    snapshots = Snapshots({path(0): SnapshotError("altered")})
    pool = on_trial(book(snapshots, window(0), window(1)), 1)
    assert ([row.window_id for row in pool.rows], pool.unreadable) == ([window_id(1)] * 3, (window_id(0),))


def test_an_archive_that_does_not_answer_is_waited_for() -> None:
    snapshots = Snapshots({path(0): ArchiveUnavailableError("not mounted")})
    with pytest.raises(ArchiveUnavailableError):
        on_trial(book(snapshots, window(0)), 0)


def test_an_older_challenger_is_judged_by_the_pool_at_its_birth_and_all_rows_since() -> None:
    rows = on_trial(book(Snapshots(), *(window(sequence) for sequence in range(6))), 5, 3, pool_rows=6)
    assert windows_of(rows.deciding[window_id(5)], rows) == [window_id(4), window_id(5)]
    assert windows_of(rows.deciding[window_id(3)], rows) == [window_id(2), window_id(3), window_id(4), window_id(5)]
    assert rows.mask(rows.deciding[window_id(5)]).sum() == 6


def test_windows_that_nobody_needs_are_not_read() -> None:
    snapshots = Snapshots()
    on_trial(book(snapshots, *(window(sequence) for sequence in range(6))), 5, pool_rows=6)
    assert sorted(snapshots.read_paths) == [path(4), path(5)]


def test_only_the_first_rows_after_a_promotion_may_prove_the_champion() -> None:
    windows = [window(sequence, sides={Side.HOLDOUT: 3}) for sequence in range(8)]
    snapshots = Snapshots()
    rows = on_trial(book(snapshots, *windows), 7, pool_rows=3, promotion=1, since=5)
    assert windows_of(rows.since_promotion, rows) == [window_id(2), window_id(3)]
    assert len(rows.since_promotion) == 5
    assert windows_of(rows.since_promotion, rows) == [window_id(2), window_id(3)]


def test_a_text_that_comes_again_is_one_row() -> None:
    class Same(Snapshots):
        def read(self, snapshot: Snapshot) -> list[WindowRow]:
            return [snapshot_row(int(snapshot.path[-4:]), "Twice the same.")]

    rows = on_trial(book(Same(), window(0), window(1)), 1, 0)
    assert len(rows.rows) == 1
    assert rows.rows[0].window_id == window_id(1)


def test_eras_are_frozen_rows_of_the_past_and_read_once() -> None:
    """Four rows of every two windows, whatever comes later; the newest window's era is not complete."""
    snapshots = Snapshots()
    windows = book(snapshots, *(window(sequence) for sequence in range(7)))
    before, after = (on_trial(windows, newest, pool_rows=3, promotion=0) for newest in (4, 6))
    assert list(before.eras) == ["0-1", "2-3"]
    assert list(after.eras) == ["0-1", "2-3", "4-5"]
    assert all(before.eras[name] == after.eras[name] and len(after.eras[name]) == 4 for name in before.eras)
    assert snapshots.read_paths.count(path(0)) == 1


def test_while_there_is_no_champion_nothing_can_be_forgotten() -> None:
    windows = book(Snapshots(), *(window(sequence) for sequence in range(7)))
    assert on_trial(windows, 6, pool_rows=3).eras == {}


def rebuilt_on(windows: WindowBook, newest: int, without: LeftOut, promotion: int | None = None) -> TrialRows:
    promoted = None if promotion is None else window_id(promotion)
    gate = GateSettings(pool_rows=4, anchor_rows=100, eras=EraSettings(windows=2, rows=4))
    births = {window_id(newest)}
    return windows.rows_on_trial(
        window_id(newest), frozenset(), births=births, promotion=promoted, gate=gate, without=without
    )


def test_rows_that_somebody_was_rebuilt_without_decide_about_nobody_and_others_fill_the_pool() -> None:
    snapshots = Numbered()
    windows = book(snapshots, *(window(sequence) for sequence in range(4)))
    found = rebuilt_on(windows, 3, LeftOut.of(["offsets=3000-3001"]))
    assert [row.offset for row in found.rows] == [2000, 2001, 2002, 3002]
    assert found.left_out == 2
    assert [row.offset for row in rebuilt_on(windows, 3, LeftOut()).rows] == [2002, 3000, 3001, 3002]


def test_an_era_does_not_veto_with_rows_that_are_left_out_and_gets_them_back_later() -> None:
    windows = book(Numbered(), *(window(sequence) for sequence in range(5)))
    plain = rebuilt_on(windows, 4, LeftOut(), promotion=0).eras["0-1"]
    without = rebuilt_on(windows, 4, LeftOut.of(["offsets=0-999"]), promotion=0).eras["0-1"]
    assert (len(plain), len(without)) == (4, 3)
    assert rebuilt_on(windows, 4, LeftOut(), promotion=0).eras["0-1"] == plain


def test_a_rebuild_is_judged_as_of_the_newest_window_seen_that_nobody_distrusts() -> None:
    windows = book(Snapshots(), *(window(sequence) for sequence in range(5)))
    seen = {window_id(1), window_id(3), "rebuild-1"}
    assert windows.newest_trusted(seen, frozenset()) == window_id(3)
    assert windows.newest_trusted(seen, {window_id(3)}) == window_id(2)
    assert windows.newest_trusted({"rebuild-1"}, frozenset()) is None


def test_the_latest_rows_up_to_a_window_need_no_trial_of_their_own() -> None:
    snapshots = Snapshots()
    found = book(snapshots, *map(window, range(4))).latest(window_id(2), frozenset(), 4)
    assert [row.window_id for row in found.rows] == [window_id(1), *[window_id(2)] * 3]
    assert snapshots.read_paths == [path(2), path(1)]


def test_the_latest_rows_hold_none_of_a_distrusted_window_not_even_of_the_newest() -> None:
    found = book(Snapshots(), *map(window, range(3))).latest(window_id(2), {window_id(2), window_id(0)}, 100)
    assert {row.window_id for row in found.rows} == {window_id(1)}


def test_the_latest_rows_leave_out_what_decides_about_nobody() -> None:
    without = LeftOut.of(["offsets=2001-2002"])
    found = book(Numbered(), *map(window, range(3))).latest(window_id(2), frozenset(), 100, without)
    assert [row.offset for row in found.rows if row.window_id == window_id(2)] == [2000]


def test_the_latest_rows_name_windows_that_are_lost() -> None:
    lost = Snapshots({path(1): SnapshotError("gone")})
    found = book(lost, *map(window, range(3))).latest(window_id(2), frozenset(), 9)
    assert {row.window_id for row in found.rows} == {window_id(0), window_id(2)}
    assert found.unreadable == (window_id(1),)
