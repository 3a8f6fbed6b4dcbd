"""The retrainer and its job are killed at chosen moments; afterwards there is one version a window, and no orphan."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.retrainer.runs import RunFolder
from shared.events import CandidateStatus, ClosedWindow
from shared.registry import Registry
from tests.integration.retrainer.stage import RetrainerProcess, Stream, eventually, settings_for

EPOCHS = 60.0  # some 500 steps of a tiny model: long enough to be killed in the middle


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def stream(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path, cache: Path) -> Stream:
    return Stream(settings_for(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, cache, epochs=EPOCHS))


@pytest.fixture
def retrainer(stream: Stream) -> Iterator[RetrainerProcess]:
    with RetrainerProcess(stream.settings) as running:
        yield running


def checkpointed(run: RunFolder) -> bool:
    return any(run.checkpoints.glob("checkpoint-*/complete.json"))


def jobs(run: RunFolder) -> list[psutil.Process]:
    """Processes that work on this run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "services.retrainer.job" in command and str(run.path) in command:
            found.append(process)
    return found


def until_checkpointed(stream: Stream, window: ClosedWindow) -> RunFolder:
    run = RunFolder(stream.run_folder(window).resolve())
    eventually(lambda: checkpointed(run), "a checkpoint")
    assert run.result() is None, "the job was too quick to be killed in the middle"
    return run


def assert_done_once(stream: Stream, run: RunFolder) -> None:
    eventually(lambda: bool(stream.candidates()), "a candidate")
    (candidate,) = stream.candidates()
    (version,) = Registry(stream.settings).versions()
    result = run.result()
    assert result is not None
    assert (candidate.status, candidate.version) == (CandidateStatus.READY, version.version)
    assert candidate.model_digest == result.model_digest


def test_a_killed_service_takes_its_job_along_and_resumes_it(stream: Stream, retrainer: RetrainerProcess) -> None:
    window = stream.window()
    stream.announce(window)
    run = until_checkpointed(stream, window)
    plan = run.plan_file.read_bytes()
    retrainer.kill()
    eventually(lambda: not jobs(run), "the end of the orphaned job")
    retrainer.start()
    assert_done_once(stream, run)
    result = run.result()
    assert result is not None
    assert result.resumed_from_step > 0
    assert run.plan_file.read_bytes() == plan
    assert run.failures() == []


def test_a_killed_job_is_resumed_by_the_service(stream: Stream, retrainer: RetrainerProcess) -> None:
    window = stream.window()
    stream.announce(window)
    run = until_checkpointed(stream, window)
    for process in jobs(run):
        os.kill(process.pid, signal.SIGKILL)
    assert_done_once(stream, run)
    result = run.result()
    assert result is not None
    assert result.resumed_from_step > 0
    assert [reason.split(":")[0] for reason in run.failures()] == ["killed by SIGKILL"]


def test_a_stop_ends_the_job_in_time_and_keeps_its_checkpoint(stream: Stream, retrainer: RetrainerProcess) -> None:
    window = stream.window()
    stream.announce(window)
    run = until_checkpointed(stream, window)
    assert retrainer.terminate() == 0
    assert jobs(run) == []
    assert checkpointed(run)
    retrainer.start()
    assert_done_once(stream, run)


def test_a_kill_after_training_registers_without_training_again(stream: Stream, retrainer: RetrainerProcess) -> None:
    window = stream.window()
    stream.announce(window)
    run = RunFolder(stream.run_folder(window).resolve())
    eventually(run.result_file.exists, "the result")
    retrainer.kill()
    written = run.result_file.stat().st_mtime_ns
    retrainer.start()
    assert_done_once(stream, run)
    assert run.result_file.stat().st_mtime_ns == written
    assert json.loads(run.plan_file.read_bytes())["windows"][0]["window_id"] == window.window_id
