"""The way from an order to its candidate, whatever is ordered; here, windows."""

from pathlib import Path

import pytest

from services.retrainer.plan import DecisionWait
from shared.errors import ModelError, RegistryUnavailableError, SnapshotError
from shared.events import CandidateStatus, Verdict
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import candidate, closed_window, decision, window_id
from tests.unit.retrainer.cycling import RESULT, STEPS, Harness, finish, join_background, until


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_a_window_becomes_a_candidate(harness: Harness) -> None:
    cycle = harness.cycle()
    phases = []
    for _ in range(STEPS):
        phases.append(cycle.phase)
        if cycle.advance() is not None:
            break
        join_background()
    assert list(dict.fromkeys(phases)) == ["waiting", "preparing", "training", "registering", "done"]
    assert finish(cycle) == cycle.advance()
    assert harness.value("tidemill_training_steps_total") == 8
    assert harness.value("tidemill_training_progress_ratio") == 0
    assert harness.value("tidemill_training_seconds_count") == 1


def test_it_waits_for_the_decision_before(harness: Harness) -> None:
    harness.history.observe(candidate(0, version="1"))
    cycle = harness.cycle(closed_window(1))
    cycle.advance()
    assert cycle.phase == "waiting"
    harness.now = 40.0
    harness.history.observe(decision(0, Verdict.PROMOTE, "1"))
    finish(cycle)
    assert harness.workshop.waits == [DecisionWait(window_id=window_id(0), seconds=40.0, decided=True)]


def test_the_wait_is_bounded_and_said(harness: Harness) -> None:
    harness.history.observe(candidate(0, version="1"))
    cycle = harness.cycle(closed_window(1), settings=TrainingSettings(decision_wait_seconds=900))
    harness.now = 899.0
    cycle.advance()
    assert cycle.phase == "waiting"
    harness.now = 900.0
    finish(cycle)
    assert harness.workshop.waits == [DecisionWait(window_id=window_id(0), seconds=900.0, decided=False)]


def test_a_failed_job_is_tried_again(harness: Harness) -> None:
    harness.workshop.job_reasons = ["killed by SIGKILL", "exit code 1", None]
    assert finish(harness.cycle()).status is CandidateStatus.READY
    assert len(harness.workshop.jobs) == 3
    assert harness.value("tidemill_training_attempts_failed_total") == 2


def test_too_many_failures_yield_a_failed_candidate(harness: Harness) -> None:
    harness.workshop.job_reasons = ["exit code 1: a", "exit code 1: b", "exit code 1: c", None]
    made = finish(harness.cycle())
    assert made.status is CandidateStatus.FAILED
    assert made.reason == "3 attempts failed; the last one: exit code 1: c"


def test_failures_before_a_restart_count_too(harness: Harness) -> None:
    harness.workshop.run.add_failure("exit code 1: a")
    harness.workshop.run.add_failure("exit code 1: b")
    harness.workshop.job_reasons = ["exit code 1: c", None]
    assert finish(harness.cycle()).status is CandidateStatus.FAILED


@pytest.mark.parametrize("error", [SnapshotError("snapshot x was altered"), ModelError("champion 3 is damaged")])
def test_what_cannot_get_better_fails_at_once(harness: Harness, error: Exception) -> None:
    harness.workshop.prepare_errors = [error]
    made = finish(harness.cycle())
    assert (made.status, made.reason) == (CandidateStatus.FAILED, str(error))
    assert harness.workshop.jobs == []


def test_a_registry_that_is_away_is_asked_again(harness: Harness) -> None:
    harness.workshop.register_errors = [RegistryUnavailableError("down"), RegistryUnavailableError("still down")]
    cycle, raised = harness.cycle(), 0
    while cycle.phase != "done":
        try:
            until(cycle, lambda: cycle.phase == "done")
        except RegistryUnavailableError:
            raised += 1
    assert raised == 2
    assert len(harness.workshop.jobs) == 1


def test_a_model_damaged_before_registration_is_trained_again(harness: Harness) -> None:
    harness.workshop.register_errors = [ModelError("digest is not the expected one")]
    assert finish(harness.cycle()).status is CandidateStatus.READY
    assert len(harness.workshop.jobs) == 2


def test_a_finished_run_is_not_trained_again(harness: Harness) -> None:
    harness.workshop.run.write(harness.workshop.run.result_file, RESULT)
    assert finish(harness.cycle()).status is CandidateStatus.READY
    assert harness.workshop.jobs == []


def test_a_registered_version_is_not_made_again(harness: Harness) -> None:
    harness.workshop.registered_before = candidate(0, version="9")
    assert finish(harness.cycle()).version == "9"
    assert harness.workshop.waits == []


def test_a_stop_ends_the_job_and_another_one_goes_on(harness: Harness) -> None:
    harness.workshop.endless = True
    cycle = harness.cycle()
    until(cycle, lambda: cycle.phase == "training")
    cycle.stop()
    assert [job.terminated for job in harness.workshop.jobs] == [True]
    harness.workshop.endless = False
    assert finish(cycle).status is CandidateStatus.READY
    assert len(harness.workshop.jobs) == 2
    assert harness.value("tidemill_training_attempts_failed_total") == 0
