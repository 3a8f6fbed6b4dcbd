"""What all tests share: the real Kafka and the real MLflow, started once a run (once a worker under xdist)."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer

_numbers = itertools.count(1)

# Machines are slow and shared: a property may be wrong, not late. The same examples each time, so that a failure stays.
hypothesis.settings.register_profile(
    "tidemill", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tidemill")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """The settings of whoever runs the tests do not reach them; the folder of downloads does."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith(("TIDEMILL_", "_TIDEMILL_")) and variable != "TIDEMILL_CACHE":
                patch.delenv(variable)
        yield


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running Kafka, for all tests of the run. A test that stops or kills one starts its own `Broker(tmp_path)`."""
    with Broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running MLflow, for all tests of the run."""
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def topic_prefix() -> str:
    """A stream of the test's own: it prefixes its topics, groups, transactions and registered models."""
    return f"t{next(_numbers)}-{os.getpid()}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for a service's state."""
    return tmp_path / "home"
