"""The evaluator and its scorer are killed while candidates are decided; every candidate gets one entry all the same."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import process
from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from shared.classifier.mlflow_format import save_for_mlflow
from tests.integration.evaluator.stage import Models, Stage
from tests.models import answering
from tests.unit.evaluator.builders import CORE_POLICY

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

PATIENCE_SECONDS = 240.0
LOOK_SECONDS = 0.02


class EvaluatorProcess(process.Held):
    """`python -m services.evaluator` on a stage."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def start(self) -> None:
        """Starts it; it may still be waiting for its group."""
        settings = self._stage.settings
        environment = {
            "TIDEMILL_HOME": str(settings.home),
            "TIDEMILL_STREAM__PREFIX": settings.stream.prefix,
            "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers(),
            "TIDEMILL_REGISTRY__TRACKING_URI": settings.tracking_uri(),
            "TIDEMILL_EVALUATOR__GATE__POOL_ROWS": str(settings.evaluator.gate.pool_rows),
            # A model that comes again is no better than the anchor, which is the same: here every window promotes.
            "TIDEMILL_EVALUATOR__GATE__TERMS": json.dumps([{"kind": term.kind} for term in CORE_POLICY.terms]),
            # Its child asks models too, and is not the one to be killed.
            "TIDEMILL_EVALUATOR__MONITOR__ENABLED": "false",
            "TIDEMILL_EVALUATOR__ASSERT_ALIAS_SECONDS": "0.2",
            "TIDEMILL_MODEL__THREADS": "1",
        }
        settings.home.mkdir(parents=True, exist_ok=True)
        with (settings.home / "evaluator.log").open("ab") as log:
            self._process = process.spawn([*process.PYTHON_MODULE, "services.evaluator"], log, environment)

    def scorer(self) -> psutil.Process | None:
        """Its child that scores, if there is one."""
        children = psutil.Process(self.pid).children() if self.pid else []
        return next((child for child in children if "spawn_main" in " ".join(child.cmdline())), None)


def eventually(holds: Callable[[], bool], what: str) -> None:
    over = threading.Event()
    timer = threading.Timer(PATIENCE_SECONDS, over.set)
    timer.start()
    try:
        while not holds():
            assert not over.wait(LOOK_SECONDS), f"waited in vain for {what}"
    finally:
        timer.cancel()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    for label in ("positive", "negative"):
        save_for_mlflow(answering(folder / f"{label}-flat", label), folder / label)
    return Models(folder / "positive", folder / "positive", folder / "negative")


@pytest.fixture
def stage(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path) -> Stage:
    return Stage(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, pool_rows=40)


@pytest.fixture
def evaluator(stage: Stage) -> Iterator[EvaluatorProcess]:
    with EvaluatorProcess(stage) as running:
        yield running


def scoring(evaluator: EvaluatorProcess) -> psutil.Process:
    eventually(lambda: evaluator.scorer() is not None, "the scorer")
    found = evaluator.scorer()
    assert found is not None
    return found


def assert_decided_in_turn(stage: Stage, versions: list[str | None]) -> None:
    """Every window's model was right where the one before was wrong, so each is promoted, once and in order."""
    eventually(lambda: len(stage.decisions()) == len(versions), f"{len(versions)} entries")
    assert stage.story() == [(number, version, "promote", version) for number, version in enumerate(versions, 1)]
    eventually(lambda: stage.registry.champion() == versions[-1], "the alias to name the last champion")


def test_a_killed_evaluator_takes_its_scorer_along_and_decides_once(
    stage: Stage, models: Models, evaluator: EvaluatorProcess
) -> None:
    first = stage.challenge(stage.window(label=1), models.positive)
    orphan = scoring(evaluator)
    evaluator.kill()
    eventually(lambda: not orphan.is_running(), "the end of the orphaned scorer")
    assert stage.decisions() == []
    evaluator.start()
    assert_decided_in_turn(stage, [first.version])


def test_a_killed_scorer_is_tried_again(stage: Stage, models: Models, evaluator: EvaluatorProcess) -> None:
    first = stage.challenge(stage.window(label=1), models.positive)
    os.kill(scoring(evaluator).pid, signal.SIGKILL)
    assert_decided_in_turn(stage, [first.version])


def test_killed_as_soon_as_the_alias_moves_again_and_again(
    stage: Stage, models: Models, evaluator: EvaluatorProcess
) -> None:
    """Between alias and ledger lies the only moment at which they may differ."""
    versions: list[str | None] = []
    for label, folder in ((1, models.positive), (0, models.negative), (1, models.positive)):
        versions.append(stage.challenge(stage.window(label=label), folder).version)
        eventually(lambda: stage.registry.champion() == versions[-1], "the alias to move")
        evaluator.kill()
        evaluator.start()
        assert_decided_in_turn(stage, versions)
