"""A service runs its loops until a signal or a fatal error, and its exit code says which."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from shared.errors import BrokerUnavailableError, ExitCode, FencedError
from shared.health import Health, HealthServer
from shared.metrics import ServiceMetrics
from shared.service import Context, run
from shared.settings import Settings


class ScriptedLoop:
    """Does one scripted thing a step."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self._steps, self.closed = steps, False

    def step(self) -> None:
        if self._steps:
            self._steps.pop(0)()

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> "object":
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raising(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_sigterm_drains_and_exits_with_zero(settings: Settings) -> None:
    loop = ScriptedLoop([sigterm])
    assert run("mill", settings, {"wheel": lambda context: loop}) is ExitCode.STOPPED
    assert loop.closed


def test_a_fatal_error_ends_every_loop_with_its_code(settings: Settings) -> None:
    good, bad = ScriptedLoop([]), ScriptedLoop([raising(FencedError("another took over"))])
    assert run("mill", settings, {"good": lambda context: good, "bad": lambda context: bad}) is ExitCode.FENCED
    assert good.closed
    assert bad.closed


def test_an_unknown_error_is_a_crash(settings: Settings) -> None:
    assert run("mill", settings, {"wheel": lambda context: ScriptedLoop([raising(KeyError("x"))])}) is ExitCode.CRASHED


def test_a_retryable_error_repeats_the_step_and_shows_on_readiness(settings: Settings) -> None:
    seen: list[tuple[bool, dict[str, str]]] = []
    contexts: list[Context] = []

    def look() -> None:
        seen.append(contexts[0].health.readiness())

    def build(context: Context) -> ScriptedLoop:
        contexts.append(context)
        return ScriptedLoop([raising(BrokerUnavailableError("gone fishing")), look, sigterm])

    assert run("mill", settings, {"wheel": build}) is ExitCode.STOPPED
    assert seen == [(False, {"wheel": "gone fishing"})]


def test_building_is_repeated_until_the_outside_is_there(settings: Settings) -> None:
    tries = []

    def build(context: Context) -> ScriptedLoop:
        tries.append(1)
        if len(tries) < 3:
            raise BrokerUnavailableError("not yet")
        return ScriptedLoop([sigterm])

    assert run("mill", settings, {"wheel": build}) is ExitCode.STOPPED
    assert len(tries) == 3


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_health_pages_tell_what_the_parts_say() -> None:
    registry = CollectorRegistry()
    health = Health(ServiceMetrics(registry))
    health.begin("wheel")
    server = HealthServer("127.0.0.1", 0, health, registry)
    try:
        status, body = get(server.port, "/readyz")
        assert (status, json.loads(body)["reasons"]) == (503, {"wheel": "starting"})
        health.ready("wheel")
        assert get(server.port, "/readyz")[0] == 200
        assert get(server.port, "/healthz")[0] == 200
        assert b"tidemill_ready 1.0" in get(server.port, "/metrics")[1]
        assert get(server.port, "/elsewhere")[0] == 404
    finally:
        server.close()
