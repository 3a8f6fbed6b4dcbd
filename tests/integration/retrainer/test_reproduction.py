"""`tidemill reproduce` over a real registry, archive and topic: the same model, or a plain word about what is gone."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.control import reproduce as command
from services.retrainer import reproduction
from services.retrainer.plan import Plan
from services.retrainer.reproduction import reproduce
from shared.archive import Archive
from shared.errors import ConfigurationError, SnapshotError
from shared.events import ClosedWindow, CuratedReview, Origin, Verdict
from shared.kafka import Producer
from shared.topics import REVIEWS_CURATED
from tests.integration.retrainer.stage import Stream, mill, settings_for

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Learned:
    """Version 1 learned the first window, whose reviews the topic still has; version 2, from 1, the second window."""

    stream: Stream
    first: ClosedWindow
    second: ClosedWindow


@pytest.fixture(scope="module")
def learned(
    broker: Broker, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Learned:
    home, prefix = tmp_path_factory.mktemp("learned"), f"reproduced-{os.getpid()}"
    settings = settings_for(broker.bootstrap_servers, mlflow_server.uri, prefix, home, cache)
    stream = Stream(settings)
    first = stream.window()
    publish_reviews_of(stream, first)
    with mill(settings) as running:
        stream.announce(first)
        running.turn(running.published(1))
        stream.decide(stream.candidates()[0], Verdict.PROMOTE)
        second = stream.window()
        stream.announce(second)
        running.turn(running.published(2))
    assert stream.candidates()[1].parent_version == "1"
    return Learned(stream, first, second)


def publish_reviews_of(stream: Stream, window: ClosedWindow) -> None:
    """To the very offsets that the manifest names: the topic is new, and nothing here is a transaction."""
    producer = Producer(stream.settings, "test")
    for row in Archive(stream.settings).read(window.snapshot):
        review = CuratedReview(
            id=row.id,
            text=row.text,
            label=row.label,
            side=row.side,
            marked_test=False,
            origin=Origin(partition=row.origin_partition, offset=row.origin_offset),
            published_at=row.published_at,
        )
        producer.send(REVIEWS_CURATED, row.id, review).wait(30)
    producer.close()


@pytest.fixture
def _whole_again(learned: Learned) -> Iterator[None]:
    """A test may damage snapshots; the next one finds them whole."""
    files = [learned.stream.snapshot_file(window) for window in (learned.first, learned.second)]
    contents = [file.read_bytes() for file in files]
    yield
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)


def test_the_command_trains_it_again_bit_by_bit(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_CACHE", str(learned.stream.settings.cache))
    report = command.reproduce(learned.stream.settings, "2")
    assert report["identical"]
    assert report["digest_now"] == learned.stream.candidates()[1].model_digest
    assert (report["differences"], report["recovered_windows"]) == ([], [])
    assert command.exit_code(report) == 0
    assert "bit-identical" in command.verdict(report)


@pytest.mark.usefixtures("_whole_again")
def test_a_snapshot_that_is_gone_is_read_again_from_the_topic(learned: Learned) -> None:
    learned.stream.snapshot_file(learned.first).unlink()
    report = reproduce(learned.stream.settings, "1")
    assert report.identical
    assert report.recovered_windows == (learned.first.window_id,)


@pytest.mark.usefixtures("_whole_again")
def test_an_altered_snapshot_is_refused_although_the_topic_has_the_rows(learned: Learned) -> None:
    file = learned.stream.snapshot_file(learned.first)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(SnapshotError, match="was altered"):
        reproduce(learned.stream.settings, "1")


@pytest.mark.usefixtures("_whole_again")
def test_offsets_that_are_gone_with_their_snapshot_are_named(learned: Learned) -> None:
    learned.stream.snapshot_file(learned.second).unlink()
    with pytest.raises(SnapshotError, match=rf"{learned.second.window_id} is gone: .*1000-1199 .* holds only 0-199"):
        reproduce(learned.stream.settings, "2")


def test_another_training_is_measured_against_the_registered_model(
    learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = reproduction.verified_plan

    def reseeded(content: bytes, sha256: str) -> Plan:
        plan = honest(content, sha256)
        return plan.model_copy(update={"seed": plan.seed + 1})

    monkeypatch.setattr(reproduction, "verified_plan", reseeded)
    report = reproduce(learned.stream.settings, "2")
    assert not report.identical
    assert report.likeness is not None
    assert not report.likeness.weights_identical
    assert 0.0 < report.likeness.largest_difference <= 1.0


def test_a_version_that_is_not_there_is_refused(learned: Learned) -> None:
    with pytest.raises(ConfigurationError, match="there are: 2, 1"):
        reproduce(learned.stream.settings, "9")
