"""Kafka, MLflow and the server itself are killed; the champion answers on, and what comes after is followed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from tests.integration.server.stage import Gate, ServerProcess, Traffic, stream_settings


@dataclass(frozen=True)
class World:
    """Everything a test may kill."""

    broker: Broker
    mlflow: MlflowServer
    server: ServerProcess
    gate: Gate


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Broker(tmp_path / "kafka") as broker, MlflowServer(tmp_path / "mlflow") as mlflow:
        settings = stream_settings(broker.bootstrap_servers, mlflow.uri, "chaos", tmp_path / "home")
        with ServerProcess(settings) as server:
            yield World(broker, mlflow, server, Gate(settings, tmp_path / "trained"))


def test_the_champion_outlives_kafka_and_mlflow_and_its_own_death(world: World) -> None:
    server, gate = world.server, world.gate
    first, second = gate.register("positive"), gate.register("negative")
    gate.promote(first)
    server.until(version=first.version, phase="serving")
    answer = server.predict(text="a film").json()["predictions"][0]
    with Traffic(server.url) as traffic:
        world.broker.kill()
        wait_for_trouble(server, "kafka")
        traffic.more()
        world.mlflow.kill()
        wait_for_trouble(server, "registry")
        traffic.more()
        report = {"prediction_id": answer["prediction_id"], "label": "negative"}
        refused = httpx.post(f"{server.url}/v1/feedback", json=report, timeout=60)
    assert traffic.failures == []
    assert set(traffic.answers) == {(first.version, "positive")}
    assert refused.status_code == 503
    assert "retry-after" in refused.headers

    server.kill()
    server.start()
    server.until(ok=True, version=first.version, phase="serving")
    assert server.predict(text="a film").json()["predictions"][0]["label"] == "positive"

    world.mlflow.start()
    world.broker.start()
    with Traffic(server.url) as traffic:
        gate.promote(second)
        server.until(version=second.version, phase="serving", kafka="reachable", registry="reachable")
        traffic.until_answered_by(second.version)
    assert traffic.failures == []
    while (taken := httpx.post(f"{server.url}/v1/feedback", json=report, timeout=60)).status_code == 503:
        assert "retry-after" in taken.headers
    assert taken.status_code == 202


def test_with_kafka_gone_the_alias_is_followed_and_a_gone_mlflow_is_waited_for(world: World) -> None:
    server, gate = world.server, world.gate
    first, second, third = gate.register("positive"), gate.register("negative"), gate.register("positive")
    gate.promote(first)
    server.until(version=first.version, phase="serving")
    world.broker.kill()
    wait_for_trouble(server, "kafka")
    gate.crown(second)
    server.until(version=second.version, phase="serving")
    gate.crown(first)
    server.until(version=first.version, phase="serving")
    world.broker.start()
    world.mlflow.kill()
    with Traffic(server.url) as traffic:
        wait_for_trouble(server, "registry")
        server.until(kafka="reachable")
        world.mlflow.start()
        gate.promote(third)
        traffic.until_answered_by(third.version)
    assert traffic.failures == []


def wait_for_trouble(server: ServerProcess, what: str) -> None:
    """Until the server has noticed that it is gone."""
    server.until(lambda said: said[what] != "reachable")
