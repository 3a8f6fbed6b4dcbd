"""What the retrainer promises of adapting the base, over a real Kafka and MLflow, with a real job on a tiny base."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.retrainer.adaptation.folder import AdaptationFolder
from services.retrainer.plan import Plan
from services.retrainer.reproduction import reproduce
from services.retrainer.runs import RunFolder
from shared.classifier.digest import model_digest, verify
from shared.classifier.masked import MaskedModel
from shared.classifier.model import Classifier
from shared.events import BaseCandidate, Candidate, CandidateStatus, ClosedWindow, Side, UnlabeledWindow, Verdict
from shared.lineage import BaseLineage, Lineage
from shared.registry import Registry
from shared.settings import Settings
from tests.integration.retrainer.stage import Stream, mill, settings_for

# An adaptation is a process that starts torch, and four trainings.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def settings(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path, cache: Path) -> Settings:
    return settings_for(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, cache)


@pytest.fixture
def stream(settings: Settings) -> Stream:
    return Stream(settings)


def bases(stream: Stream) -> Registry:
    return Registry(stream.settings, model=stream.settings.stream.registered_base)


@dataclass(frozen=True)
class Adapted:
    """A stream whose one window of text was delivered twice and learned, beside one labelled window."""

    stream: Stream
    labelled: ClosedWindow
    texts: UnlabeledWindow

    @property
    def candidate(self) -> BaseCandidate:
        return self.stream.base_candidates()[0]


@pytest.fixture(scope="module")
def adapted(
    broker: Broker, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Adapted:
    home, prefix = tmp_path_factory.mktemp("adapted"), f"adapted-{os.getpid()}"
    stream = Stream(settings_for(broker.bootstrap_servers, mlflow_server.uri, prefix, home, cache))
    labelled, texts = stream.labelled(), stream.texts()
    stream.announce(texts, texts)
    with mill(stream.settings) as running:
        running.turn(running.adapted(1))
    return Adapted(stream, labelled, texts)


def plan_of(stream: Stream, candidate: Candidate) -> Plan:
    plan = RunFolder(stream.settings.home / "runs" / stream.settings.stream.folder / candidate.window_id).plan()
    assert plan is not None
    return plan


def test_a_window_of_text_becomes_a_version_of_the_base_that_tells_where_it_came_from(
    adapted: Adapted, tmp_path: Path
) -> None:
    texts, candidate, registry = adapted.texts, adapted.candidate, bases(adapted.stream)
    version = registry.version_of_window(texts.window_id)
    assert version is not None
    lineage = BaseLineage.from_tags(version.tags)
    plan = AdaptationFolder(adapted.stream.run_folder(texts)).plan()
    assert plan is not None

    assert (candidate.status, candidate.version, candidate.run_id) == (
        CandidateStatus.READY,
        version.version,
        version.run_id,
    )
    assert (candidate.window_ids, candidate.probe_window_ids) == (
        (texts.window_id,),
        (adapted.labelled.window_id,),
    )
    assert (candidate.model_digest, candidate.exam_digest) == (lineage.model_digest, lineage.exam_digest)
    assert candidate.base_digest == lineage.base_digest == plan.start.base_digest
    assert lineage.snapshot_sha256s == (texts.snapshot.sha256,)
    assert (lineage.plan_sha256, lineage.parent_version) == (plan.sha256(), None)
    folder = registry.download(version.version, tmp_path / "downloaded")
    verify(folder, lineage.model_digest)
    MaskedModel.load(folder)


def test_the_base_guesses_the_streams_words_better_than_its_parent(adapted: Adapted) -> None:
    metrics = adapted.candidate.metrics
    assert metrics is not None
    assert metrics.loss_before is not None
    assert metrics.loss_after is not None
    assert metrics.loss_after < metrics.loss_before


def test_the_run_holds_what_the_gate_compares_until_it_has(adapted: Adapted, tmp_path: Path) -> None:
    candidate = adapted.candidate
    assert candidate.run_id is not None
    exam = bases(adapted.stream).fetch(candidate.run_id, "exam", tmp_path)
    assert model_digest(exam) == candidate.exam_digest
    MaskedModel.load(exam / "parent")
    for name in ("probe_parent", "probe_adapted"):
        assert Classifier.load(exam / name).labels == ("negative", "positive")


def test_the_run_shows_curve_plots_plan_and_manifests(adapted: Adapted, mlflow_server: MlflowServer) -> None:
    candidate, client = adapted.candidate, MlflowClient(mlflow_server.uri)
    assert candidate.run_id is not None
    assert candidate.metrics is not None
    run = client.get_run(candidate.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["adaptation.learning_rate"] == "0.005"
    assert run.data.metrics["steps"] == candidate.metrics.steps
    assert run.data.metrics["perplexity_after"] < run.data.metrics["perplexity_before"]
    curve, by_tokens = (client.get_metric_history(candidate.run_id, name) for name in ("loss", "loss_by_tokens"))
    assert len(curve) == len(by_tokens) > 1
    top = {item.path for item in client.list_artifacts(candidate.run_id)}
    assert {"plan.json", "environment.json", "progress.jsonl", "plots", "windows", "model", "exam"} <= top
    plots = {Path(item.path).name for item in client.list_artifacts(candidate.run_id, "plots")}
    assert plots == {"loss_by_epochs.png", "loss_by_tokens.png"}
    manifests = {Path(item.path).stem for item in client.list_artifacts(candidate.run_id, "windows")}
    assert manifests == {adapted.texts.window_id, adapted.labelled.window_id}


def test_of_a_registered_run_only_what_is_small_stays(adapted: Adapted) -> None:
    folder = adapted.stream.run_folder(adapted.texts)
    assert {"plan.json", "result.json", "job.log", "progress.jsonl"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.rglob("*.safetensors"))
    assert not list(folder.rglob("*.jsonl.draft"))
    assert not (folder / "data").exists()


def test_a_window_of_text_delivered_again_makes_no_second_version(adapted: Adapted) -> None:
    stream = adapted.stream
    after = stream.window(trainable=False)
    stream.announce(adapted.texts, after)
    with mill(stream.settings) as running:
        running.turn(running.published(1))
    assert [candidate.window_id for candidate in stream.base_candidates()] == [adapted.texts.window_id]
    assert len(bases(stream).versions()) == 1


def job_of(stream: Stream, texts: UnlabeledWindow) -> psutil.Process | None:
    """The adaptation's process, a child of this one, once its body is learning."""
    if not (stream.run_folder(texts) / "progress.jsonl").exists():
        return None
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it may end while it is looked at
            if AdaptationFolder.JOB in child.cmdline():
                return child
    return None


@pytest.mark.slow
def test_a_killed_job_goes_on_and_ends_with_the_files_of_an_unbroken_one(stream: Stream, adapted: Adapted) -> None:
    texts = stream.texts()
    stream.labelled()
    stream.announce(texts)
    with mill(stream.settings) as running:
        running.turn(lambda: job_of(stream, texts) is not None)
        job = job_of(stream, texts)
        assert job is not None
        job.kill()
        running.turn(running.adapted(1))
    (candidate,) = stream.base_candidates()
    unbroken = adapted.candidate
    assert (candidate.model_digest, candidate.exam_digest) == (unbroken.model_digest, unbroken.exam_digest)
    assert len(bases(stream).versions()) == 1
    assert "SIGKILL" in (stream.run_folder(texts) / "attempts.json").read_text()


def patient(settings: Settings, epochs: float) -> Settings:
    """With an adaptation that takes so long that something can come in between."""
    return settings.model_copy(update={"adaptation": settings.adaptation.model_copy(update={"epochs": epochs})})


@pytest.mark.slow
def test_a_labelled_window_ends_the_job_which_goes_on_afterwards(settings: Settings) -> None:
    stream = Stream(patient(settings, epochs=80))
    texts = stream.texts()
    stream.labelled()
    stream.announce(texts)
    checkpoints = stream.run_folder(texts) / "checkpoints"
    with mill(stream.settings) as running:
        running.turn(lambda: any(checkpoints.glob("checkpoint-*/complete.json")))
        stream.announce(stream.window())
        running.turn(running.published(1))
        assert stream.base_candidates() == []
        assert job_of(stream, texts) is None
        running.turn(running.adapted(1))
    progress = (stream.run_folder(texts) / "progress.jsonl").read_text().splitlines()
    resumed = [json.loads(line)["resumed_from"] for line in progress if "resumed_from" in line]
    assert len(resumed) == 2
    assert resumed[1] > 0
    assert [candidate.status for candidate in stream.base_candidates()] == [CandidateStatus.READY]
    assert not (stream.run_folder(texts) / "attempts.json").exists()


@pytest.mark.slow
def test_a_window_that_is_not_trainable_lets_the_adaptation_be(settings: Settings) -> None:
    stream = Stream(patient(settings, epochs=80))
    texts = stream.texts()
    stream.labelled()
    stream.announce(texts)
    with mill(stream.settings) as running:
        running.turn(lambda: job_of(stream, texts) is not None)
        stream.announce(stream.window(trainable=False))
        running.turn(running.published(1))
        assert job_of(stream, texts) is not None
        running.turn(running.adapted(1))
    assert (stream.run_folder(texts) / "progress.jsonl").read_text().count("resumed_from") == 1


@pytest.mark.slow
def test_text_that_is_lost_fails_with_the_reason_and_the_next_window_goes_on(stream: Stream) -> None:
    lost, sound = stream.texts(), stream.texts()
    stream.snapshot_file(lost).unlink()
    stream.labelled()
    stream.announce(lost)
    with mill(stream.settings) as running:
        running.turn(running.adapted(1))
        (failed,) = stream.base_candidates()
        stream.decide_base(failed, Verdict.REJECT, in_use=None)
        stream.announce(sound)
        running.turn(running.adapted(2))
    assert failed.status is CandidateStatus.FAILED
    assert failed.reason is not None
    assert lost.snapshot.path in failed.reason
    candidate = stream.base_candidates()[1]
    assert (candidate.status, candidate.window_ids) == (CandidateStatus.READY, (sound.window_id,))


@pytest.mark.slow
def test_trainings_begin_from_an_accepted_base_once_and_adaptations_go_on_from_it(
    stream: Stream, settings: Settings
) -> None:
    first, texts = stream.window(), stream.texts()
    with mill(settings) as running:
        stream.announce(first, texts)
        running.turn(running.adapted(1))
        (one,) = stream.candidates()
        (base,) = stream.base_candidates()
        stream.decide(one, Verdict.PROMOTE)
        stream.decide_base(base, Verdict.PROMOTE, in_use=base.version)
        stream.announce(stream.window())
        running.turn(running.published(2))
        two = stream.candidates()[1]
        stream.decide(two, Verdict.PROMOTE)
        stream.announce(stream.window(), stream.texts())
        running.turn(running.published(3))
        running.turn(running.adapted(2))
    plan, three = plan_of(stream, two), stream.candidates()[2]
    assert (one.base_version, two.base_version, three.base_version) == (None, base.version, base.version)
    assert (plan.start.version, plan.start.base_version) == (None, base.version)
    assert plan.replay_rows == first.sides[Side.TRAIN]
    assert three.parent_version == two.version
    assert plan_of(stream, three).replay_rows == plan.new_rows // 2
    assert stream.base_candidates()[1].parent_version == base.version

    version = Registry(settings).version_of_window(two.window_id)
    assert version is not None
    assert Lineage.from_tags(version.tags).base_version == base.version
    assert two.version is not None
    assert reproduce(settings, two.version).identical
