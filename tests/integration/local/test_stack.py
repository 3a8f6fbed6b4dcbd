"""The supervisor and its stack, with small programs in the place of Kafka, MLflow and the services."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import marked
from deploy.local.endpoints import Endpoints, Phase, read_endpoints
from deploy.local.log_files import LOG_BYTES
from deploy.local.stack import Stack
from shared.errors import ConfigurationError, UnreachableError

SUPERVISOR = "tests.integration.local.dummy_stack"
THREE: dict[str, list[str]] = {"broker": [], "registry": [], "service": []}
PATIENCE_SECONDS = 30.0

Up = Callable[[dict[str, list[str]]], Endpoints]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path, SUPERVISOR)
    yield stack
    stack.down()


@pytest.fixture
def up(stack: Stack) -> Up:
    return lambda dummies: stack.up(env={"DUMMIES": json.dumps(dummies)}, seconds=PATIENCE_SECONDS)


def diary(stack: Stack) -> list[str]:
    return (stack.home / "diary").read_text().splitlines()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.02)


def test_each_starts_after_what_it_needs_and_stops_before_it(stack: Stack, up: Up) -> None:
    endpoints = up(THREE)
    assert endpoints.all_up
    stack.down()
    names = list(THREE)
    assert diary(stack) == [f"{name} started" for name in names] + [f"{name} stopped" for name in reversed(names)]


def test_up_shows_each_change_and_ends_with_everything_ready(stack: Stack) -> None:
    seen: list[Endpoints] = []
    stack.up(seen.append, {"DUMMIES": json.dumps(THREE)}, PATIENCE_SECONDS)
    assert seen[-1].all_up
    assert any(not endpoints.all_up for endpoints in seen)


def test_a_step_of_preparation_that_ended_well_lets_the_others_go_on(up: Up) -> None:
    endpoints = up({"broker": [], "topics": ["--once"], "service": []})
    assert endpoints.processes["topics"].phase is Phase.DONE


def test_nothing_is_left_after_down(stack: Stack, up: Up) -> None:
    endpoints = up({"broker": [], "service": ["--parent"]})
    assert len(marked.find(stack.home)) == 3
    stack.down()
    assert marked.find(stack.home) == []
    assert not psutil.pid_exists(endpoints.supervisor_pid or 0)
    left = read_endpoints(stack.home)
    assert left is not None
    assert left.pids == {}


def test_a_dead_process_is_started_again_and_said(stack: Stack, up: Up) -> None:
    before = up(THREE).pids
    os.kill(before["service"], signal.SIGKILL)
    until(lambda: stack.endpoints().processes["service"].restarts == 1 and stack.endpoints().all_up)
    after = stack.endpoints().pids
    assert after["service"] != before["service"]
    assert after["broker"] == before["broker"]
    assert "service ended with SIGKILL; starts again in 1 s" in stack.log("supervisor").read_text()


def test_nothing_outlives_a_killed_supervisor(stack: Stack, up: Up) -> None:
    endpoints = up({"broker": [], "service": ["--parent"]})
    assert endpoints.supervisor_pid is not None
    os.kill(endpoints.supervisor_pid, signal.SIGKILL)
    until(lambda: not marked.find(stack.home))
    assert not stack.is_running


def test_a_new_stack_can_start_at_once_after_a_killed_supervisor(stack: Stack, up: Up) -> None:
    first = up({"broker": [], "service": []})
    assert first.supervisor_pid is not None
    os.kill(first.supervisor_pid, signal.SIGKILL)
    until(lambda: not stack.is_running)
    second = up({"broker": [], "service": []})
    until(lambda: _guardians(stack.home) == 1)
    assert stack.endpoints().pids == second.pids, "the first run's guardian ended processes of the second"


def _guardians(home: Path) -> int:
    return sum(str(home) in item.cmdline() and "deploy.local.guardian" in item.cmdline() for item in _own())


def _own() -> Iterator[psutil.Process]:
    for item in psutil.process_iter(["cmdline"]):
        if item.info["cmdline"]:
            yield item


def test_a_second_up_on_a_running_home_says_so(stack: Stack, up: Up) -> None:
    up({"broker": []})
    with pytest.raises(ConfigurationError, match="is running on"):
        Stack(stack.home, SUPERVISOR).up()
    assert stack.endpoints().all_up


def test_a_second_up_after_down_takes_the_same_ports(stack: Stack, up: Up) -> None:
    first = up(THREE).ports
    stack.down()
    assert up(THREE).ports == first


def test_a_program_that_never_starts_fails_the_start_with_its_last_words(stack: Stack, up: Up) -> None:
    with pytest.raises(UnreachableError, match="service does not start(.|\n)*this program always fails"):
        up({"broker": [], "service": ["--fail"]})
    assert marked.find(stack.home) == []


def test_a_broken_supervisor_fails_the_start_with_its_last_words(stack: Stack) -> None:
    with pytest.raises(UnreachableError, match="the supervisor ended(.|\n)*JSONDecodeError"):
        stack.up(env={"DUMMIES": "no JSON"})


def test_without_a_stack_there_are_no_endpoints_and_nothing_to_stop(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.down()
    with pytest.raises(UnreachableError, match="no stack is running"):
        stack.endpoints()


@pytest.mark.parametrize("name", ["service", "supervisor"])
def test_a_log_that_grows_large_is_begun_anew_while_its_process_runs(stack: Stack, up: Up, name: str) -> None:
    before = up({"service": []}).pids
    os.truncate(stack.log(name), LOG_BYTES + 1)
    until(lambda: stack.log(name).stat().st_size < LOG_BYTES)
    assert stack.log(name).with_suffix(".log.1").stat().st_size == LOG_BYTES + 1
    assert stack.endpoints().pids == before


def test_memory_is_told_by_process_with_its_children(stack: Stack, up: Up) -> None:
    up({"broker": [], "service": ["--parent"]})
    memory = stack.memory_mib()
    assert set(memory) == {"broker", "service", "supervisor"}
    assert memory["service"] > memory["broker"] > 1
