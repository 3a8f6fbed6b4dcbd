"""Several processes behind one port, over real Kafka and MLflow."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from shared.envelope import decode
from shared.errors import ExitCode
from shared.events import ServerPhase, ServerState
from shared.kafka import read_topic
from shared.settings import Settings
from shared.topics import SERVERS_STATE
from tests.integration.server.stage import LOOK_SECONDS, PATIENCE_SECONDS, Gate, ServerProcess

WORKERS = 2


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"server": settings.server.model_copy(update={"workers": WORKERS})})


def processes(server: ServerProcess) -> set[int]:
    assert server._process is not None
    return {child.pid for child in psutil.Process(server._process.pid).children()}


def serving(settings: Settings, version: str) -> dict[str, str]:
    """Worker -> its own address, of those that said last that they serve the version."""
    records = read_topic(settings, "test", SERVERS_STATE)
    states = {state.replica_id: state for state in (decode(ServerState, each.value, each.where()) for each in records)}
    return {
        name: state.url
        for name, state in states.items()
        if state.url is not None and state.version == version and state.phase is ServerPhase.SERVING
    }


def until(holds: Callable[[], bool], what: str) -> None:
    given_up = threading.Event()
    timer = threading.Timer(PATIENCE_SECONDS, given_up.set)
    timer.start()
    while not holds():
        assert not given_up.wait(LOOK_SECONDS), f"waited for {what}"
    timer.cancel()


def test_workers_share_a_port_a_stop_and_what_they_answered(
    server: ServerProcess, settings: Settings, gate: Gate
) -> None:
    champion = gate.promote(gate.register("positive"))
    until(lambda: len(serving(settings, champion.version)) == WORKERS, "both workers to serve")
    own = serving(settings, champion.version)
    assert set(own) == {"server-0.0", "server-0.1"}

    assert server.predict(text="a film").json()["model"]["version"] == champion.version
    first, second = own.values()
    answer = httpx.post(first + "/v1/predict", json={"text": "a film"}, timeout=30).json()
    feedback = {"prediction_id": answer["predictions"][0]["prediction_id"], "label": "negative"}
    assert httpx.post(second + "/v1/feedback", json=feedback, timeout=30).status_code == 202

    before = processes(server)
    assert len(before) == WORKERS
    victim = psutil.Process(min(before))
    victim.kill()
    victim.wait(PATIENCE_SECONDS)
    asked = [httpx.post(server.url + "/v1/predict", json={"text": "a film"}, timeout=30) for _ in range(20)]
    assert [answer.status_code for answer in asked] == [200] * 20
    until(lambda: len(processes(server)) == WORKERS and victim.pid not in processes(server), "a new worker")
    again = serving(settings, champion.version)
    until(lambda: serving(settings, champion.version) != again, "the new worker to serve, at a new address")

    workers = processes(server)
    assert server.terminate() == ExitCode.STOPPED
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_workers_that_are_misconfigured_end_it_all(home: Path) -> None:
    environment = os.environ | {"TIDEMILL_SERVER__WORKERS": "2", "TIDEMILL_SERVER__PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "services.server"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "kafka.bootstrap_servers is not set" in done.stderr
