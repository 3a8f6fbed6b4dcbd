"""What is read of `windows.closed` at start, whatever lies there."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from services.ingestor import beginnings, sweeping
from services.ingestor.beginnings import newest_manifests
from shared.events import ClosedWindow, Snapshot, SplitRecord, Trigger
from shared.kafka import Record
from shared.settings import Settings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPLIT = SplitRecord(salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1")
STRAY = b"no manifest"


def manifest(sequence: int) -> bytes:
    window = ClosedWindow(
        window_id=f"w-{sequence:010d}",
        sequence=sequence,
        first_offset=sequence,
        last_offset=sequence,
        reviews=1,
        kept=1,
        set_aside=(),
        sides={},
        labels={},
        sources={},
        label_names=("negative", "positive"),
        origins={},
        first_published_at=NOON,
        last_published_at=NOON,
        trigger=Trigger.COUNT,
        trigger_detail="",
        trainable=True,
        split=SPLIT,
        snapshot=Snapshot(path=f"windows/{sequence}", sha256="0" * 64, size_bytes=1),
        closed_at=NOON,
    )
    return window.model_dump_json().encode()


def records(*values: bytes) -> list[Record]:
    return [Record("windows.closed", 0, offset, NOON, None, value, {}) for offset, value in enumerate(values)]


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets `windows.closed` hold these values."""

    def fill(*values: bytes) -> None:
        held = records(*values)
        monkeypatch.setattr(beginnings, "read_newest", lambda settings, role, topic, count: held[-count:])
        monkeypatch.setattr(sweeping, "iterate_topic", lambda settings, role, topic: iter(held))

    return fill


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_stray_record_hides_no_window(topic: Callable[..., None], count: int) -> None:
    """Else the windower would begin again at the first review."""
    topic(manifest(0), manifest(1), manifest(2), STRAY, STRAY, STRAY)
    assert [window.sequence for window in newest_manifests(Settings(), count)] == [0, 1, 2][-count:]


def test_strays_alone_are_no_windows(topic: Callable[..., None]) -> None:
    topic(STRAY)
    assert newest_manifests(Settings(), 1) == []


def test_the_sweep_knows_the_snapshots_of_all_manifests(topic: Callable[..., None]) -> None:
    topic(manifest(0), manifest(1))
    assert sweeping.known_paths(Settings()) == {"windows/0", "windows/1"}


def test_the_sweep_knows_nothing_beside_a_stray(topic: Callable[..., None]) -> None:
    """What cannot be read may be a newer version's manifest: without known snapshots nothing is swept."""
    topic(manifest(0), STRAY)
    assert sweeping.known_paths(Settings()) == set()
