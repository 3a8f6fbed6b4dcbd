"""Whatever the polls, failures and restarts: windows that follow each other, without a gap, each review in one."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.kinds import LABELED, UNLABELED, Kind
from services.ingestor.outputs import split_header
from services.ingestor.windowing import WindowerLoop, labeled_windower, unlabeled_windower
from shared.archive import Archive
from shared.errors import ArchiveUnavailableError, RetryableError
from shared.events import Origin, SetAsideRow, Side
from shared.kafka import Record
from shared.settings import Settings, SplitSettings
from shared.text import NORMALISER_VERSION
from tests.unit.ingestor.kafka_double import FAILURES, KafkaDouble, Killed, start

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NEVER_SECONDS, AT_ONCE_SECONDS = 1e9, 1e-3
EXAMPLES = 25
TEXTS = [f"number {number}" for number in range(100)]
BUILDS = {LABELED: labeled_windower, UNLABELED: unlabeled_windower}
SPLIT_HEADER = dict([split_header(SplitSettings().record(NORMALISER_VERSION))])

# How many records a step polls, and what happens before it, or to the next closing of a window.
trouble = st.tuples(st.integers(0, 8), st.sampled_from([None, "rebalance", "restart", *FAILURES]))
troubles = st.lists(trouble, min_size=8, max_size=25)
# A review's text, and how far its offset is from the one before: markers of transactions take offsets, too.
arrival = st.tuples(st.sampled_from(TEXTS), st.integers(1, 3))
arrivals = st.lists(arrival, min_size=20, max_size=60)


def settings(max_age_seconds: float) -> Settings:
    """Windows of 5 kept rows."""
    bounds = {"max_rows": 9, "max_age_seconds": max_age_seconds}
    return Settings.model_validate(
        {
            "archive": {"url": f"memory://{uuid4().hex}"},
            "ingestor": {
                "window": {"triggers": [{"kind": "count", "rows": 5}], "min_rows": 1, **bounds},
                "unlabeled": {"rows": 5, **bounds},
            },
        }
    )


def records(kind: Kind[Any, Any], arrivals: Sequence[tuple[str, int]]) -> list[Record]:
    offsets = accumulate(step for _, step in arrivals)
    return [record(kind, offset, text) for offset, (text, _) in zip(offsets, arrivals, strict=True)]


def record(kind: Kind[Any, Any], offset: int, text: str) -> Record:
    review = kind.review(
        id=str(offset),
        text=text,
        side=Side.TRAIN,
        origin=Origin(partition=0, offset=offset),
        published_at=LONG_AGO,
        **({"label": TEXTS.index(text) % 2, "marked_test": False} if kind is LABELED else {}),
    )
    return Record(kind.reviews.name, 0, offset, LONG_AGO, None, review.model_dump_json().encode(), SPLIT_HEADER)


def meet(kafka: KafkaDouble, options: Settings, troubles: Sequence[tuple[int, str | None]]) -> WindowerLoop[Any, Any]:
    """A windower that has met all this, restarts included."""
    loop = start(options, BUILDS[kafka.kind])
    for batch, trouble in troubles:
        kafka.batch = batch
        if trouble == "rebalance":
            kafka.generation += 1
        elif trouble == "restart":
            loop = start(options, BUILDS[kafka.kind])
        else:
            kafka.failure = trouble
        try:
            loop.step()
        except RetryableError:
            pass  # the service repeats the step
        except Killed:
            loop = start(options, BUILDS[kafka.kind])
    return loop


def work(kafka: KafkaDouble, options: Settings, troubles: Sequence[tuple[int, str | None]]) -> WindowerLoop[Any, Any]:
    """The same, and then it works in peace until everything is read."""
    with kafka.installed():
        loop = meet(kafka, options, troubles)
        kafka.batch, kafka.failure = len(kafka.records), None
        for _ in range(3):  # to resume, to read, and to see that all is read
            loop.step()
    return loop


def contents(kafka: KafkaDouble, options: Settings) -> list[list[int]]:
    """The offsets in each window, kept or set aside, by snapshot and manifest."""
    archive = Archive(options)
    return [
        sorted([*archive.columns(each.snapshot, ["offset"])["offset"].to_pylist(), *map(offset_of, each.set_aside)])
        for each in kafka.manifests
    ]


def offset_of(row: SetAsideRow) -> int:
    return row.offset


@pytest.mark.parametrize("kind", BUILDS)
@hypothesis.settings(max_examples=EXAMPLES)
@given(arrived=arrivals, met=troubles, max_age_seconds=st.sampled_from([NEVER_SECONDS, AT_ONCE_SECONDS]))
def test_windows_are_contiguous_and_complete_and_hold_each_review_once(
    kind: Kind[Any, Any], arrived: list[tuple[str, int]], met: list[tuple[int, str | None]], max_age_seconds: float
) -> None:
    kafka, options = KafkaDouble(kind, records(kind, arrived)), settings(max_age_seconds)
    loop = work(kafka, options, met)
    windows = contents(kafka, options)
    windowed = [offset for offsets in windows for offset in offsets]
    offsets = [record.offset for record in kafka.records]
    assert windowed == offsets[: len(windowed)]
    assert [window.sequence for window in kafka.manifests] == list(range(len(windows)))
    assert [(each[0], each[-1]) for each in windows] == [(w.first_offset, w.last_offset) for w in kafka.manifests]
    assert kafka.committed == (windowed[-1] + 1 if windowed else 0)
    assert len(loop._windower.window) == len(offsets) - len(windowed)


@pytest.mark.parametrize("kind", BUILDS)
@hypothesis.settings(max_examples=EXAMPLES)
@given(arrived=arrivals, met=troubles)
def test_windows_that_close_by_count_are_the_same_whatever_happens(
    kind: Kind[Any, Any], arrived: list[tuple[str, int]], met: list[tuple[int, str | None]]
) -> None:
    """Snapshots and all: what earlier windows hold is known after a restart as before."""
    calm, troubled = (KafkaDouble(kind, records(kind, arrived)) for _ in range(2))
    options = settings(NEVER_SECONDS)
    work(calm, options, [])
    work(troubled, options, met)
    assert [(each.window_id, each.set_aside, each.snapshot) for each in troubled.manifests] == [
        (each.window_id, each.set_aside, each.snapshot) for each in calm.manifests
    ]


@pytest.mark.parametrize("kind", BUILDS)
def test_while_the_archive_is_away_no_more_is_read_into_memory(kind: Kind[Any, Any]) -> None:
    kafka = KafkaDouble(kind, records(kind, [(text, 1) for text in TEXTS[:30]]))
    with kafka.installed():
        loop = meet(kafka, settings(NEVER_SECONDS), [(6, "archive away")] * 20)
    assert (kafka.manifests, len(loop._windower.window) + len(loop._reviews)) == ([], 6)


@pytest.mark.parametrize("kind", BUILDS)
def test_a_start_that_is_tried_again_and_again_holds_one_producer(
    kind: Kind[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a thread and sockets of its own; the archive may be away for days."""
    kafka, options = KafkaDouble(kind, records(kind, [(text, 1) for text in TEXTS[:30]])), settings(NEVER_SECONDS)
    work(kafka, options, [])
    assert kafka.manifests
    kafka.producers_open = 0
    with kafka.installed():
        monkeypatch.setattr(Archive, "signatures", Mock(side_effect=ArchiveUnavailableError("not now")))
        loop = start(options, BUILDS[kind])
        for _ in range(5):
            with pytest.raises(ArchiveUnavailableError):
                loop.step()
        assert kafka.producers_open == 1
        loop.close()
        assert kafka.producers_open == 0
