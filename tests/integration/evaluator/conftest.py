"""A stream, tiny models, and evaluators that score in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.evaluator import app
from services.evaluator.bases import loop
from shared.classifier.mlflow_format import save_for_mlflow
from shared.kafka import TransactionalProducer
from shared.registry import Registry
from tests.integration.evaluator.bases_stage import Adaptations, BasesStage, make_adaptations, until_base_entry
from tests.integration.evaluator.stage import Dying, InlineScoring, Models, Running, Stage
from tests.models import answering

Start = Callable[..., Running]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    wanted = {"positive": ("positive", 6.0), "surely_positive": ("positive", 7.0), "negative": ("negative", 6.0)}
    for name, (label, certainty) in wanted.items():
        save_for_mlflow(answering(folder / f"{name}-flat", label, certainty=certainty), folder / name)
    return Models(**{name: folder / name for name in wanted})


@pytest.fixture
def stage(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path) -> Stage:
    return Stage(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home)


@pytest.fixture
def small_pool(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path) -> Stage:
    """The pool holds no more than one window, so that every window can have a champion of its own."""
    return Stage(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, pool_rows=40)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts evaluators: `start(stage)`, or `start(stage, kill="set_tags", after=True)`."""
    with ExitStack() as running:
        yield _starting(app, monkeypatch, running)


@pytest.fixture
def start_bases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the loop that judges bases, as `start` does the other."""
    with ExitStack() as running:
        yield _starting(loop, monkeypatch, running)


def _starting(part: ModuleType, monkeypatch: pytest.MonkeyPatch, running: ExitStack) -> Start:
    real = {"Registry": Registry, "TransactionalProducer": TransactionalProducer}
    monkeypatch.setattr(part, "ScoringProcess", InlineScoring)

    def starting(stage: Stage, kill: str = "", after: bool = False) -> Running:
        for name, make in real.items():
            monkeypatch.setattr(part, name, _dying(make, kill, after))
        evaluator = Running(stage.settings, part.build)
        running.callback(evaluator.close)
        return evaluator

    return starting


@pytest.fixture
def crowned(stage: Stage, models: Models, start: Start) -> Stage:
    """A stream whose first champion always answers positive."""
    stage.challenge(stage.window(label=1), models.positive)
    evaluator = start(stage)
    evaluator.until_entry(1)
    evaluator.close()
    return stage


@pytest.fixture(scope="session")
def adaptations(tmp_path_factory: pytest.TempPathFactory) -> Adaptations:
    return make_adaptations(tmp_path_factory.mktemp("bases"))


@pytest.fixture
def bases_stage(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path) -> BasesStage:
    return BasesStage(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home)


@pytest.fixture
def accepted(bases_stage: BasesStage, adaptations: Adaptations, start_bases: Start) -> BasesStage:
    """A stream whose first adapted base was accepted."""
    bases_stage.adapt(adaptations.better)
    evaluator = start_bases(bases_stage)
    until_base_entry(evaluator, 1)
    evaluator.turn(5)
    evaluator.close()
    return bases_stage


def _dying(make: Callable[..., Any], kill: str, after: bool) -> Callable[..., Any]:
    return lambda *args, **more: Dying(make(*args, **more), kill, after)
