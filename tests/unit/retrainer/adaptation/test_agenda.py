"""When an adaptation begins, rests, goes on and ends; the work itself is done by doubles."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.retrainer.adaptation import order
from services.retrainer.adaptation.agenda import Agenda
from services.retrainer.adaptation.folder import AdaptationFolder, AdaptationResult
from services.retrainer.adaptation.order import AdaptationWorkshop
from services.retrainer.history import History
from services.retrainer.launcher import JobEnd
from services.retrainer.plan import DecisionWait
from services.retrainer.progress import Entry
from services.retrainer.runs import Runs
from shared.errors import SnapshotError
from shared.events import AdaptationMetrics, BaseCandidate, CandidateStatus, Event, UnlabeledWindow, Verdict
from shared.metrics import RetrainerMetrics
from shared.settings import StreamSettings, load_settings
from tests.unit.retrainer.adaptation.builders import (
    adaptation_plan,
    base_candidate,
    base_decision,
    text_id,
    unlabeled_window,
)
from tests.unit.retrainer.builders import SHA, closed_window

STEPS = 1000
RESULT = AdaptationResult(
    model_digest=SHA,
    exam_digest=SHA,
    metrics=AdaptationMetrics(steps=1, tokens_seen=1, seconds=1),
    head_steps=0,
    validation_rows=0,
    guesses=0,
)


class FakeJob:
    """Ends when told to; leaves a result if it was not ended before."""

    seconds = 3.0

    def __init__(self, run: AdaptationFolder, timeout_seconds: float) -> None:
        self.run, self.may_end, self.ended = run, False, False

    def progress(self) -> list[Entry]:
        return []

    def poll(self) -> JobEnd | None:
        if not self.may_end:
            return None
        self.run.write(self.run.result_file, RESULT)
        return JobEnd(None)

    def terminate(self) -> None:
        self.ended = True


class FakeWorkshop:
    """Prepares and registers at once; remembers which windows it was given."""

    def __init__(self, home: Path) -> None:
        self.runs = Runs(home, StreamSettings(), AdaptationFolder)
        self.timeout_seconds = 1.0
        self.prepared: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.preparation = self.registration = self

    def find(self, windows: Sequence[UnlabeledWindow], run: AdaptationFolder) -> BaseCandidate | None:
        return None

    def prepare(self, windows: Sequence[UnlabeledWindow], history: History, wait: DecisionWait) -> AdaptationFolder:
        if self.error is not None:
            raise self.error
        self.prepared.append(tuple(window.window_id for window in windows))
        run = self.runs.of(windows)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    def register(self, run: AdaptationFolder, windows: Sequence[Event]) -> BaseCandidate:
        return base_candidate(int(run.path.name.removeprefix("u-")) // 1000, version="1")


class Harness:
    """An agenda with its workshop, history and jobs."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[FakeJob] = []
        self.workshop: Any = FakeWorkshop(home)
        self.idle, self.history = True, History()
        settings = load_settings(home=home, adaptation={"min_rows": 150, "probe_rows": 50})
        metrics = RetrainerMetrics(CollectorRegistry()).adaptation
        workshop: AdaptationWorkshop = self.workshop
        self.agenda = Agenda(settings, workshop, metrics)
        monkeypatch.setattr(order, "Job", self._launch)

    def _launch(self, run: AdaptationFolder, timeout_seconds: float) -> FakeJob:
        self.jobs.append(FakeJob(run, timeout_seconds))
        return self.jobs[-1]

    def learn(self, *events: Event) -> None:
        for event in events:
            self.history.observe(event)

    def advance(self) -> BaseCandidate | None:
        candidate = self.agenda.advance(self.history, lambda: self.idle)
        for thread in threading.enumerate():
            if thread.name == "retrainer-background":
                thread.join()
        return candidate

    def until(self, reached: Callable[[], object]) -> None:
        for _ in range(STEPS):
            if reached():
                return
            self.advance()
        raise AssertionError("never reached")

    def finish(self) -> BaseCandidate:
        for _ in range(STEPS):
            for job in self.jobs:
                job.may_end = True
            if (candidate := self.advance()) is not None:
                return candidate
        raise AssertionError("no candidate")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
    made = Harness(tmp_path, monkeypatch)
    made.learn(closed_window(0), unlabeled_window(0), unlabeled_window(1))
    return made


def test_windows_that_are_enough_together_become_one_base(harness: Harness) -> None:
    candidate = harness.finish()
    assert (candidate.window_id, candidate.status) == (text_id(1), CandidateStatus.READY)
    assert harness.workshop.prepared == [(text_id(0), text_id(1))]


def test_nothing_begins_without_enough_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(tmp_path, monkeypatch)
    harness.learn(closed_window(0), unlabeled_window(0))
    assert [harness.advance() for _ in range(5)] == [None] * 5
    assert harness.workshop.prepared == []
    harness.learn(unlabeled_window(1))
    assert harness.finish().window_id == text_id(1)


def test_nothing_begins_while_windows_wait(harness: Harness) -> None:
    harness.idle = False
    assert [harness.advance() for _ in range(5)] == [None] * 5
    assert harness.workshop.prepared == []


def test_at_work_nobody_is_asked_whether_windows_wait(harness: Harness) -> None:
    """Asking costs a request to Kafka; a window that comes is noticed by the loop."""
    harness.until(lambda: harness.jobs)
    harness.idle = False
    harness.finish()
    assert len(harness.jobs) == 1


def test_it_rests_and_goes_on_with_another_job_in_the_same_run(harness: Harness) -> None:
    harness.until(lambda: harness.jobs)
    harness.agenda.rest()
    assert harness.jobs[0].ended
    harness.learn(unlabeled_window(2))
    harness.finish()
    assert [job.run.path.name for job in harness.jobs] == [text_id(1), text_id(1)]
    assert harness.workshop.prepared == [(text_id(0), text_id(1))] * 2


def test_after_a_restart_it_goes_on_as_planned_though_more_has_come(harness: Harness) -> None:
    run = harness.workshop.runs.folder(text_id(1))
    run.path.mkdir(parents=True)
    (run.path / "config.json").write_text("{}")
    plan = adaptation_plan(run.path, train=100)
    second = plan.windows[0].model_copy(update={"window_id": text_id(1), "sequence": 1})
    run.write(run.plan_file, plan.model_copy(update={"windows": (plan.windows[0], second)}))
    harness.learn(unlabeled_window(2))
    assert harness.finish().window_id == text_id(1)
    assert harness.workshop.prepared == [(text_id(0), text_id(1))]


def test_what_cannot_be_learned_is_said_and_not_tried_again(harness: Harness) -> None:
    harness.workshop.error = SnapshotError("the snapshot is gone")
    candidate = harness.finish()
    assert (candidate.status, candidate.reason) == (CandidateStatus.FAILED, "the snapshot is gone")
    assert candidate.window_ids == (text_id(0), text_id(1))
    harness.learn(candidate)
    harness.agenda.drop()
    assert harness.advance() is None


def test_the_base_before_is_waited_for_until_it_is_decided(harness: Harness) -> None:
    harness.learn(base_candidate(0, version="1"), unlabeled_window(2))
    assert [harness.advance() for _ in range(5)] == [None] * 5
    assert harness.workshop.prepared == []
    harness.learn(base_decision(0, "1", Verdict.REJECT, None))
    harness.finish()
    assert harness.workshop.prepared == [(text_id(1), text_id(2))]
