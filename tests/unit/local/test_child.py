import sys
from pathlib import Path

import pytest

from deploy.local.child import Backoff, Child
from deploy.local.endpoints import Phase
from deploy.local.specs import ProcessSpec

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def child(folder: Path, code: str, ready_url: str | None = "tcp://127.0.0.1:1", after: tuple[str, ...] = ()) -> Child:
    spec = ProcessSpec("dummy", (sys.executable, "-c", code), ready_url, after=after)
    return Child(spec, folder, {}, said.append)


said: list[str] = []


@pytest.fixture(autouse=True)
def silence() -> None:
    said.clear()


def phase(subject: Child) -> Phase:
    return subject.state.phase


def turn(subject: Child, now: float, phase: Phase) -> None:
    """Ticks until the process, which runs in real time, has brought the child to that phase."""
    while subject.state.phase is not phase:
        subject.tick(now, ())


def test_deaths_in_a_row_wait_twice_as_long_each_time_up_to_half_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.after_death(5) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_death_after_a_healthy_minute_begins_anew() -> None:
    backoff = Backoff(deaths=5)
    assert backoff.after_death(60) == 1


def test_it_waits_for_what_it_needs(tmp_path: Path) -> None:
    subject = child(tmp_path, "pass", after=("broker", "topics"))
    subject.tick(0, ["broker"])
    assert phase(subject) is Phase.WAITING
    subject.tick(0, ["topics", "broker"])
    assert phase(subject) is Phase.STARTING
    subject.end(10)


def test_a_dead_one_starts_again_when_its_wait_is_over(tmp_path: Path) -> None:
    subject = child(tmp_path, "raise SystemExit(2)")
    turn(subject, 0, Phase.BACKING_OFF)
    assert subject.state.detail.startswith("ended with status 2; starts again in 1 s")
    subject.tick(0.9, ())
    assert phase(subject) is Phase.BACKING_OFF
    subject.tick(1.0, ())
    assert phase(subject) is Phase.STARTING
    subject.end(10)
    assert subject.state.restarts == 1


def test_a_program_that_does_not_exist_is_a_death_like_any_other(tmp_path: Path) -> None:
    subject = Child(ProcessSpec("dummy", ("/no/such/program",), None), tmp_path, {}, said.append)
    subject.tick(0, ())
    assert phase(subject) is Phase.BACKING_OFF
    assert "cannot start" in said[0]


def test_one_that_does_not_listen_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    subject = child(tmp_path, STUBBORN)
    subject.tick(0, ())
    log = tmp_path / "dummy.log"
    while "deaf" not in log.read_text():
        subject.tick(0, ())
    subject.terminate()
    subject.end(0.1)
    assert phase(subject) is Phase.STOPPED
    assert said == ["dummy did not end in time and is killed"]
