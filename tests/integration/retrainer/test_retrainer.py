"""What the retrainer promises, over a real Kafka and a real MLflow, with a real job on a tiny model."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.retrainer.plan import Plan
from services.retrainer.runs import RunFolder
from shared.classifier.digest import verify
from shared.events import Candidate, CandidateStatus, ClosedWindow, Verdict
from shared.kafka import Admin
from shared.label_quality import QUALITY_FILE, LabelQuality
from shared.lineage import Lineage
from shared.registry import Registry
from shared.settings import Settings
from tests.integration.retrainer.stage import LABELS, Stream, mill, settings_for


@pytest.fixture
def settings(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path, cache: Path) -> Settings:
    return settings_for(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, cache)


@pytest.fixture
def stream(settings: Settings) -> Stream:
    return Stream(settings)


@dataclass(frozen=True)
class Learned:
    """A stream whose one window was delivered twice and learned."""

    stream: Stream
    window: ClosedWindow

    @property
    def candidate(self) -> Candidate:
        return self.stream.candidates()[0]


@pytest.fixture(scope="module")
def learned(
    broker: Broker, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Learned:
    home, prefix = tmp_path_factory.mktemp("learned"), f"learned-{os.getpid()}"
    # So often that it knows better than flipped labels.
    stream = Stream(settings_for(broker.bootstrap_servers, mlflow_server.uri, prefix, home, cache, epochs=8))
    window = stream.window()
    stream.announce(window, window)
    with mill(stream.settings) as running:
        running.turn(running.published(1))
    return Learned(stream, window)


def plan_of(stream: Stream, candidate: Candidate) -> Plan:
    plan = RunFolder(stream.settings.home / "runs" / stream.settings.stream.folder / candidate.window_id).plan()
    assert plan is not None
    return plan


def test_a_window_becomes_a_version_that_tells_where_it_came_from(learned: Learned, tmp_path: Path) -> None:
    stream, window, candidate = learned.stream, learned.window, learned.candidate
    registry = Registry(stream.settings)
    version = registry.version_of_window(window.window_id)
    assert version is not None
    lineage = Lineage.from_tags(version.tags)
    plan = plan_of(stream, candidate)

    assert (candidate.status, candidate.version) == (CandidateStatus.READY, version.version)
    assert candidate.model_digest == lineage.model_digest
    assert lineage.window_ids == (window.window_id,)
    assert lineage.offset_ranges == ((window.first_offset, window.last_offset),)
    assert lineage.snapshot_sha256s == (window.snapshot.sha256,)
    assert lineage.plan_sha256 == plan.sha256()
    assert (lineage.parent_version, lineage.seed) == (None, plan.seed)
    verify(registry.download(version.version, tmp_path / "downloaded"), lineage.model_digest)


def test_of_a_registered_run_only_what_is_small_stays(learned: Learned) -> None:
    left = {path.name for path in learned.stream.run_folder(learned.window).iterdir()}
    assert {"plan.json", "result.json", "job.log", "progress.jsonl"} <= left
    assert not left & {"checkpoints", "data", "model", "classifier"}


def test_the_run_shows_curve_plots_plan_and_manifests(
    learned: Learned, mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    window, candidate = learned.window, learned.candidate
    assert candidate.run_id is not None
    assert candidate.metrics is not None
    client = MlflowClient(mlflow_server.uri)
    run = client.get_run(candidate.run_id)
    curve = client.get_metric_history(candidate.run_id, "loss")
    assert run.info.status == "FINISHED"
    assert run.data.params["training.learning_rate"] == "0.005"
    assert run.data.metrics["steps"] == candidate.metrics.steps
    assert 0 < curve[-1].step <= candidate.metrics.steps
    by_tokens = client.get_metric_history(candidate.run_id, "loss_by_tokens")
    assert len(by_tokens) == len(curve)
    assert candidate.metrics.steps < by_tokens[-1].step <= candidate.metrics.tokens_seen
    top = {item.path for item in client.list_artifacts(candidate.run_id)}
    assert {"plan.json", "environment.json", "progress.jsonl", "plots", "windows", "model"} <= top
    plots = {Path(item.path).name for item in client.list_artifacts(candidate.run_id, "plots")}
    assert plots == {"loss_by_step.png", "loss_by_tokens.png"}
    manifest = Path(client.download_artifacts(candidate.run_id, f"windows/{window.window_id}.json", str(tmp_path)))
    assert json.loads(manifest.read_text())["snapshot"]["sha256"] == window.snapshot.sha256


def test_a_window_delivered_again_makes_no_second_version(learned: Learned) -> None:
    stream, window = learned.stream, learned.window
    after = stream.window(trainable=False)
    stream.announce(window, after)
    with mill(stream.settings) as running:
        running.turn(running.published(1))
    assert [candidate.window_id for candidate in stream.candidates()] == [window.window_id, after.window_id]
    assert len(Registry(stream.settings).versions()) == 1


def test_labels_that_contradict_the_champion_are_not_learned_and_what_was_found_is_kept(learned: Learned) -> None:
    """In a run of its own, since there is no version; the last test of this stream."""
    stream = learned.stream
    stream.decide(learned.candidate, Verdict.PROMOTE)
    flipped = stream.window(flipped=True)
    stream.announce(flipped)
    with mill(stream.settings) as running:
        running.turn(running.published(1))
    made, registry = stream.candidates()[-1], Registry(stream.settings)
    assert (made.window_id, made.status, made.version) == (flipped.window_id, CandidateStatus.DISTRUSTED, None)
    assert registry.version_of_window(flipped.window_id) is None
    assert made.run_id is not None
    run = registry._client.get_run(made.run_id)
    assert (run.info.run_name, run.info.status) == (f"look at labels of {flipped.window_id}", "FINISHED")
    assert run.data.metrics["suspicious_label_share"] > 0.5
    kept = registry.run_file(made.run_id, QUALITY_FILE)
    assert kept is not None
    found = LabelQuality.model_validate_json(kept)
    assert made.numbers == found.numbers()
    assert found.version == learned.candidate.version
    assert found.worst
    assert {(row.given, row.said) for row in found.worst} <= {LABELS, LABELS[::-1]}


def test_candidate_and_position_move_together(stream: Stream) -> None:
    stream.announce(stream.window(trainable=False), stream.window(trainable=False))
    with mill(stream.settings) as running:
        running.turn(running.published(2))
    admin = Admin(stream.settings)
    assert list(admin.group_offsets("retrainer").values()) == [2]
    admin.close()
    assert [candidate.status for candidate in stream.candidates()] == [CandidateStatus.SKIPPED] * 2


@pytest.mark.slow
def test_the_next_window_starts_from_the_champion_and_replays_what_is_trusted(stream: Stream) -> None:
    first, distrusted, third = stream.window(), stream.window(), stream.window()
    kept_aside = stream.snapshot_file(distrusted).read_bytes()
    with mill(stream.settings) as running:
        stream.announce(first)
        running.turn(running.published(1))
        stream.decide(stream.candidates()[0], Verdict.PROMOTE)
        stream.snapshot_file(distrusted).unlink()  # fails at once, which saves a training
        stream.announce(distrusted)
        running.turn(running.published(2))
        stream.snapshot_file(distrusted).write_bytes(kept_aside)
        stream.decide(stream.candidates()[1], Verdict.REJECT, quarantined=True)
        stream.announce(third)
        running.turn(running.published(3))
    one, _, three = stream.candidates()
    plan = plan_of(stream, three)
    assert (one.parent_version, three.parent_version) == (None, one.version)
    assert three.replay_window_ids == (first.window_id,)
    assert plan.replay_rows == plan.new_rows // 2
    assert (plan.decision_wait.window_id, plan.decision_wait.decided) in ((distrusted.window_id, True), (None, True))


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_window_whose_snapshot_is_lost_fails_with_the_reason_and_the_next_goes_on(
    stream: Stream, damage: str
) -> None:
    lost, sound = stream.window(), stream.window(trainable=False)
    file = stream.snapshot_file(lost)
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    stream.announce(lost, sound)
    with mill(stream.settings) as running:
        running.turn(running.published(2))
    failed, skipped = stream.candidates()
    assert failed.status is CandidateStatus.FAILED
    assert failed.reason is not None
    assert lost.snapshot.path in failed.reason
    assert damage in failed.reason
    assert skipped.window_id == sound.window_id
    assert Registry(stream.settings).versions() == []


def test_a_training_that_always_fails_yields_a_failed_candidate(settings: Settings) -> None:
    training = settings.training.model_copy(update={"timeout_seconds": 0.01, "attempts": 2})
    stream = Stream(settings.model_copy(update={"training": training}))
    stream.announce(stream.window())
    with mill(stream.settings) as running:
        running.turn(running.published(1))
    (failed,) = stream.candidates()
    assert failed.status is CandidateStatus.FAILED
    assert failed.reason is not None
    assert failed.reason.startswith("2 attempts failed")


@pytest.mark.slow
def test_a_backlog_can_be_merged_into_one_model(settings: Settings) -> None:
    training = settings.training.model_copy(update={"backlog": "merge"})
    stream = Stream(settings.model_copy(update={"training": training}))
    windows = [stream.window() for _ in range(3)]
    stream.announce(*windows)
    with mill(stream.settings) as running:
        running.turn(lambda: sum(len(candidate.window_ids) for candidate in stream.candidates()) == 3)
    candidates = stream.candidates()
    assert [window_id for made in candidates for window_id in made.window_ids] == [made.window_id for made in windows]
    assert len(candidates) < 3
    assert len(Registry(stream.settings).versions()) == len(candidates)


@pytest.mark.slow
def test_mlflow_that_goes_away_in_the_middle_is_waited_for(
    broker: Broker, topic_prefix: str, tmp_path: Path, cache: Path
) -> None:
    with MlflowServer(tmp_path / "mlflow") as server:
        stream = Stream(settings_for(broker.bootstrap_servers, server.uri, topic_prefix, tmp_path / "home", cache))
        window = stream.window()
        stream.announce(window)
        with mill(stream.settings) as running:
            running.turn((stream.run_folder(window) / "job.log").exists)
            server.kill()
            running.turn(lambda: bool(running.waited_for))
            assert running.count("ready") == 0
            server.start()
            running.turn(running.published(1))
        assert [candidate.status for candidate in stream.candidates()] == [CandidateStatus.READY]
        assert len(Registry(stream.settings).versions()) == 1
