"""A server process over the run's Kafka and MLflow, in a stream of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from shared.settings import Settings
from tests.integration.server.stage import Gate, ServerProcess, stream_settings


@pytest.fixture
def settings(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path) -> Settings:
    return stream_settings(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home)


@pytest.fixture
def gate(settings: Settings, tmp_path: Path) -> Gate:
    return Gate(settings, tmp_path / "trained")


@pytest.fixture
def server(settings: Settings) -> Iterator[ServerProcess]:
    with ServerProcess(settings) as server:
        yield server
