"""The open window's bookkeeping, and the manifest that is made of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.kinds import LABELED
from services.ingestor.manifest import LARGEST_SOURCES, build_manifest
from services.ingestor.open_window import OpenWindow
from services.ingestor.triggers import Closing
from shared.archive import WindowRow
from shared.errors import LedgerCorruptError
from shared.events import ClosedWindow, SetAside, Side, Snapshot, SplitRecord, Trigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPLIT = SplitRecord(salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1")
SNAPSHOT = Snapshot(path="windows/x", sha256="0" * 64, size_bytes=1)


def row(offset: int, label: int = 0, side: Side = Side.TRAIN, source: str | None = None, seconds: int = 0) -> WindowRow:
    return WindowRow(
        offset=offset,
        id=str(offset),
        text="text",
        label=label,
        side=side,
        source=source,
        created_at=None,
        prediction_id=None,
        origin_partition=offset % 2,
        origin_offset=offset // 2,
        published_at=NOON + timedelta(seconds=seconds),
        signature=None,
    )


def open_window(after: ClosedWindow | None = None) -> OpenWindow[WindowRow]:
    return OpenWindow(LABELED, after, classes=2)


def manifest(window: OpenWindow[WindowRow], min_rows: int = 1) -> ClosedWindow:
    return build_manifest(
        window,
        Closing(Trigger.COUNT, "enough"),
        SNAPSHOT,
        label_names=("negative", "positive"),
        split=SPLIT,
        min_rows=min_rows,
        closed_at=NOON,
    )


def test_counts_follow_what_is_kept() -> None:
    window = open_window()
    window.add(row(4, label=0), None)
    window.add(row(5, label=1, side=Side.HOLDOUT), None)
    window.add(row(7, label=1), SetAside.DUPLICATE)
    counts = window.counts()
    assert (counts.reviews, counts.kept, counts.training) == (3, 2, (1, 0))
    assert [kept.offset for kept in window.kept()] == [4, 5]


def test_an_overturned_row_is_set_aside_with_the_one_that_contradicts_it() -> None:
    window = open_window()
    window.add(row(4, label=0), None)
    window.add(row(5, label=1), SetAside.CONFLICT, overturned=0)
    assert [(each.offset, each.reason) for each in window.set_aside()] == [
        (4, SetAside.CONFLICT),
        (5, SetAside.CONFLICT),
    ]
    assert (window.counts().kept, window.counts().training) == (0, (0, 0))


def test_a_row_cannot_be_overturned_twice() -> None:
    window = open_window()
    window.add(row(1), None)
    window.add(row(2), SetAside.CONFLICT, overturned=0)
    with pytest.raises(LedgerCorruptError, match="set aside twice"):
        window.add(row(3), SetAside.CONFLICT, overturned=0)


def test_an_offset_that_does_not_rise_is_refused() -> None:
    window = open_window()
    window.add(row(4), None)
    with pytest.raises(LedgerCorruptError, match="offset 4 after 4"):
        window.add(row(4), None)


def test_the_age_is_that_of_the_oldest_review_whatever_the_order() -> None:
    window = open_window()
    for offset, seconds in enumerate((30, 10, 20)):
        window.add(row(offset, seconds=seconds), None)
    assert window.counts().age_seconds(NOON + timedelta(seconds=40)) == 30


def test_the_manifest_says_what_is_in_the_window() -> None:
    window = open_window()
    window.add(row(4, label=1, source="a", seconds=5), None)
    window.add(row(6, label=0, source="b", side=Side.HOLDOUT), None)
    window.add(row(9, label=0), SetAside.NEAR_DUPLICATE)
    closed = manifest(window)
    assert (closed.window_id, closed.sequence, closed.first_offset, closed.last_offset) == ("w-0000000004", 0, 4, 9)
    assert (closed.reviews, closed.kept, closed.labels) == (3, 2, {"negative": 1, "positive": 1})
    assert (closed.sides[Side.TRAIN], closed.sides[Side.HOLDOUT], closed.sources) == (1, 1, {"a": 1, "b": 1})
    assert closed.origins == {"0": (2, 3), "1": (4, 4)}
    assert (closed.first_published_at, closed.last_published_at) == (NOON, NOON + timedelta(seconds=5))


def test_a_window_that_teaches_nothing_says_why() -> None:
    window = open_window()
    window.add(row(1), None)
    closed = manifest(window)
    assert (closed.trainable, closed.not_trainable_because) == (False, "training rows of 1 class only")


def test_many_sources_are_summed_up() -> None:
    window = open_window()
    for offset in range(LARGEST_SOURCES + 10):
        window.add(row(offset, source=f"source {offset:03}"), None)
    sources = manifest(window).sources
    assert (len(sources), sources["other"], sum(sources.values())) == (LARGEST_SOURCES + 1, 10, LARGEST_SOURCES + 10)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([None, *SetAside]), st.integers(0, 1)), min_size=1))
def test_kept_and_set_aside_are_the_whole_range_exactly_once(rows: list[tuple[int, SetAside | None, int]]) -> None:
    window, offset, offsets = open_window(), 0, []
    for step, reason, label in rows:
        offset += step  # gaps, as transaction markers leave them
        offsets.append(offset)
        window.add(row(offset, label=label), reason)
    closed = manifest(window)
    kept = [each.offset for each in window.kept()]
    assert sorted([*kept, *(each.offset for each in closed.set_aside)]) == offsets
    assert (closed.first_offset, closed.last_offset, closed.reviews) == (offsets[0], offsets[-1], len(offsets))
    assert sum(closed.labels.values()) == sum(closed.sides.values()) == closed.kept == len(kept)
