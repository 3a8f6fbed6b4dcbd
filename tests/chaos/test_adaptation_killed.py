"""The retrainer is killed at every stage of an adaptation; one base comes of it, the same as of an unbroken one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.retrainer.adaptation.folder import AdaptationFolder
from shared.events import BaseCandidate, CandidateStatus
from shared.exam import PROBE_PARENT
from shared.registry import Registry
from tests.integration.retrainer.stage import RetrainerProcess, Stream, eventually, mill, settings_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

STAGES: dict[str, Callable[[AdaptationFolder], bool]] = {
    "planned": lambda run: run.plan_file.exists(),
    "head": lambda run: run.head_progress_file.exists(),
    "body": lambda run: run.progress_file.exists(),
    "probes": lambda run: run.probed(PROBE_PARENT).exists(),
    "finished": lambda run: run.result_file.exists(),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def unbroken(
    broker: Broker, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> BaseCandidate:
    home, prefix = tmp_path_factory.mktemp("unbroken"), f"unbroken-{os.getpid()}"
    stream = Stream(settings_for(broker.bootstrap_servers, mlflow_server.uri, prefix, home, cache))
    stream.labelled()
    stream.announce(stream.texts())
    with mill(stream.settings) as running:
        running.turn(running.adapted(1))
    (candidate,) = stream.base_candidates()
    return candidate


def test_a_retrainer_killed_at_every_stage_makes_one_base(
    broker: Broker,
    mlflow_server: MlflowServer,
    topic_prefix: str,
    home: Path,
    cache: Path,
    unbroken: BaseCandidate,
) -> None:
    stream = Stream(settings_for(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, cache))
    texts = stream.texts()
    stream.labelled()
    stream.announce(texts)
    run = AdaptationFolder(stream.run_folder(texts))
    with RetrainerProcess(stream.settings) as retrainer:
        for stage, reached in STAGES.items():
            eventually(lambda reached=reached: reached(run), stage)
            retrainer.kill()
            retrainer.start()
        eventually(lambda: bool(stream.base_candidates()), "a candidate")
        retrainer.kill()
        retrainer.start()
        stream.announce(stream.window(trainable=False))
        eventually(lambda: len(stream.candidates()) == 2, "the candidate of the window after it")
    (candidate,) = stream.base_candidates()
    (version,) = Registry(stream.settings, model=stream.settings.stream.registered_base).versions()
    assert (candidate.status, candidate.version) == (CandidateStatus.READY, version.version)
    assert (candidate.model_digest, candidate.exam_digest) == (unbroken.model_digest, unbroken.exam_digest)
    assert not run.attempts_file.exists()
