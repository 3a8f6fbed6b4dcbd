"""A stream, tiny models, and evaluators that score in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.evaluator import app
from shared.classifier.mlflow_format import save_for_mlflow
from shared.kafka import TransactionalProducer
from shared.registry import Registry
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
    real = {"Registry": Registry, "TransactionalProducer": TransactionalProducer}
    monkeypatch.setattr(app, "ScoringProcess", InlineScoring)
    with ExitStack() as running:

        def starting(stage: Stage, kill: str = "", after: bool = False) -> Running:
            for name, make in real.items():
                monkeypatch.setattr(app, name, _dying(make, kill, after))
            evaluator = Running(stage.settings, app.build)
            running.callback(evaluator.close)
            return evaluator

        yield starting


@pytest.fixture
def crowned(stage: Stage, models: Models, start: Start) -> Stage:
    """A stream whose first champion always answers positive."""
    stage.challenge(stage.window(label=1), models.positive)
    evaluator = start(stage)
    evaluator.until_entry(1)
    evaluator.close()
    return stage


def _dying(make: Callable[..., Any], kill: str, after: bool) -> Callable[..., Any]:
    return lambda *args: Dying(make(*args), kill, after)
