"""What is read of the topics of manifests at start, whatever lies there."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ingestor import beginnings, sweeping
from services.ingestor.beginnings import check_split, newest_manifests
from services.ingestor.kinds import KINDS, LABELED, UNLABELED, Kind
from services.ingestor.outputs import split_header
from shared.errors import ConfigurationError
from shared.events import Snapshot, SplitRecord, Trigger
from shared.kafka import Record
from shared.settings import Settings
from shared.topics import REVIEWS_CURATED, REVIEWS_UNLABELED, WINDOWS_CLOSED, WINDOWS_UNLABELED, Topic

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPLIT = SplitRecord(salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1")
STRAY = b"no manifest"
OF_LABELS = {"labels": {}, "label_names": ("negative", "positive"), "trainable": True}

AnyKind = Kind[Any, Any]
Fill = Callable[..., None]


def manifest(kind: AnyKind, sequence: int) -> bytes:
    window = kind.manifest(
        window_id=f"{kind.prefix}-{sequence:010d}",
        sequence=sequence,
        first_offset=sequence,
        last_offset=sequence,
        reviews=1,
        kept=1,
        set_aside=(),
        sides={},
        sources={},
        origins={},
        first_published_at=NOON,
        last_published_at=NOON,
        trigger=Trigger.COUNT,
        trigger_detail="",
        split=SPLIT,
        snapshot=Snapshot(path=f"{kind.prefix}/{sequence}", sha256="0" * 64, size_bytes=1),
        closed_at=NOON,
        **(OF_LABELS if kind is LABELED else {}),
    )
    value: bytes = window.model_dump_json().encode()
    return value


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Lets a topic hold these values, each with the header of `SPLIT`; the others are empty."""
    topics: dict[Topic, list[Record]] = {}
    monkeypatch.setattr(
        beginnings, "read_newest", lambda settings, role, topic, count=1: topics.get(topic, [])[-count:]
    )
    monkeypatch.setattr(sweeping, "iterate_topic", lambda settings, role, topic: iter(topics.get(topic, [])))

    def apply(topic: Topic, *values: bytes) -> None:
        headers = dict([split_header(SPLIT)])
        topics[topic] = [
            Record(topic.name, 0, offset, NOON, None, value, headers) for offset, value in enumerate(values)
        ]

    return apply


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_stray_record_hides_no_window(fill: Fill, count: int, kind: AnyKind) -> None:
    """Else the windower would begin again at the first review."""
    fill(kind.manifests, *(manifest(kind, sequence) for sequence in range(3)), STRAY, STRAY, STRAY)
    assert [window.sequence for window in newest_manifests(Settings(), kind, count)] == [0, 1, 2][-count:]


@pytest.mark.parametrize("kind", KINDS)
def test_strays_alone_are_no_windows(fill: Fill, kind: AnyKind) -> None:
    fill(kind.manifests, STRAY)
    assert newest_manifests(Settings(), kind, 1) == []


def test_the_sweep_knows_the_snapshots_of_all_manifests(fill: Fill) -> None:
    fill(WINDOWS_CLOSED, manifest(LABELED, 0), manifest(LABELED, 1))
    fill(WINDOWS_UNLABELED, manifest(UNLABELED, 0))
    assert sweeping.known_paths(Settings()) == {"w/0", "w/1", "u/0"}


@pytest.mark.parametrize("topic", [WINDOWS_CLOSED, WINDOWS_UNLABELED])
def test_the_sweep_knows_nothing_beside_a_stray(fill: Fill, topic: Topic) -> None:
    """What cannot be read may be a newer version's manifest: without known snapshots nothing is swept."""
    fill(WINDOWS_CLOSED, manifest(LABELED, 0))
    fill(WINDOWS_UNLABELED, manifest(UNLABELED, 0))
    fill(topic, STRAY)
    assert sweeping.known_paths(Settings()) == set()


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (WINDOWS_CLOSED, manifest(LABELED, 0)),
        (WINDOWS_UNLABELED, manifest(UNLABELED, 0)),
        (REVIEWS_CURATED, b"{}"),
        (REVIEWS_UNLABELED, b"{}"),
    ],
)
def test_whatever_the_stream_was_begun_with_fixes_its_split(fill: Fill, topic: Topic, value: bytes) -> None:
    """A stream of unlabelled text alone, too: its held-out reviews are held out of every later window."""
    fill(topic, value)
    check_split(Settings(), SPLIT)
    with pytest.raises(ConfigurationError, match="holdout_share was 200 and is now 450"):
        check_split(Settings(), SPLIT.model_copy(update={"holdout_share": 450}))
