import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.retrainer.cycle import Cycle
from services.retrainer.history import History
from services.retrainer.launcher import JobEnd
from services.retrainer.orders import WindowOrder
from services.retrainer.plan import DecisionWait
from services.retrainer.progress import Entry, Point
from services.retrainer.rebuild import Rebuild
from services.retrainer.runs import RunFolder, TrainingResult
from shared.errors import ModelError, RecordError, RegistryRefusedError, RegistryUnavailableError, SnapshotError
from shared.events import Candidate, CandidateStatus, ClosedWindow, TrainingMetrics, Verdict
from shared.label_quality import LabelQuality, QualityReport, Suspects
from shared.metrics import RetrainerMetrics
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import SHA, candidate, closed_window, decision, window_id

STEPS = 10_000
RESULT = TrainingResult(
    model_digest=SHA,
    metrics=TrainingMetrics(
        steps=1, rows_seen=1, tokens_seen=1, final_loss=0.5, seconds=1, rows_per_second=1, temperature=1
    ),
    calibration_rows=0,
    validation_rows=0,
    resumed_from_step=0,
)


class FakeJob:
    """A job that ends as told; one that ends well leaves a result or its distrust, as the real one does."""

    def __init__(self, run: RunFolder, reason: str | None, endless: bool, distrust: str | None = None) -> None:
        self._run, self._reason, self._endless, self._distrust = run, reason, endless, distrust
        self.terminated = False
        self.seconds = 3.0

    def progress(self) -> list[Entry]:
        return [
            Point(step=8, total_steps=10, loss=0.4, learning_rate=0, rows_seen=1, tokens_seen=1, rows_per_second=33)
        ]

    def poll(self) -> JobEnd | None:
        if self._endless:
            return None
        if self._distrust is not None:
            self._run.write(self._run.quality_file, quality(self._distrust))
        elif self._reason is None:
            self._run.write(self._run.result_file, RESULT)
        return JobEnd(self._reason)

    def terminate(self) -> None:
        self.terminated = True


class FakeWorkshop:
    """Does nothing slowly; what goes wrong is given as lists of errors, one for each call."""

    def __init__(self, folder: Path) -> None:
        self.run = RunFolder(folder)
        self.jobs: list[FakeJob] = []
        self.waits: list[DecisionWait] = []
        self.job_reasons: Iterable[str | None] = ()
        self.endless = False
        self.distrust: str | None = None
        self.registered_before: Candidate | None = None
        self.prepare_errors: list[Exception] = []
        self.register_errors: list[Exception] = []
        self.record_errors: list[Exception] = []

    def found(self, windows: Sequence[ClosedWindow]) -> Candidate | None:
        return self.registered_before

    def prepare(self, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> RunFolder:
        if self.prepare_errors:
            raise self.prepare_errors.pop(0)
        self.waits.append(wait)
        self.run.path.mkdir(parents=True, exist_ok=True)
        return self.run

    def launch(self, run: RunFolder) -> FakeJob:
        reasons = list(self.job_reasons)
        reason = reasons[len(self.jobs)] if len(self.jobs) < len(reasons) else None
        self.jobs.append(FakeJob(run, reason, self.endless, self.distrust))
        return self.jobs[-1]

    def register(self, run: RunFolder, history: History) -> Candidate:
        if self.register_errors:
            raise self.register_errors.pop(0)
        return candidate(0, version="1")

    def record_look(self, run: RunFolder, windows: Sequence[ClosedWindow]) -> str:
        if self.record_errors:
            raise self.record_errors.pop(0)
        return "run of the look"


class Harness:
    """One cycle with its workshop, clock and metrics."""

    def __init__(self, folder: Path) -> None:
        self.workshop = FakeWorkshop(folder / "run")
        self.history = History()
        self.registry = CollectorRegistry()
        self.metrics = RetrainerMetrics(self.registry)
        self.now = 0.0

    def cycle(self, *windows: ClosedWindow, settings: TrainingSettings | None = None) -> Cycle[RunFolder, Candidate]:
        chosen = settings or TrainingSettings()
        given = windows or (closed_window(0),)
        return self._of(WindowOrder(given, self.history, self.workshop, chosen), chosen)

    def rebuild(self, rebuild: Rebuild) -> Cycle[RunFolder, Candidate]:
        settings = TrainingSettings()
        return self._of(WindowOrder(rebuild.windows, self.history, self.workshop, settings, rebuild), settings)

    def _of(self, order: WindowOrder, settings: TrainingSettings) -> Cycle[RunFolder, Candidate]:
        return Cycle(order, settings, self.metrics.training, clock=lambda: self.now)

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def finish(cycle: Cycle[RunFolder, Candidate]) -> Candidate:
    return until(cycle, lambda: cycle.phase == "done") or pytest.fail("no candidate")


def until(cycle: Cycle[RunFolder, Candidate], reached: Callable[[], bool]) -> Candidate | None:
    """Advances as the loop does; background work is awaited by joining its thread."""
    for _ in range(STEPS):
        if reached():
            return cycle.advance()
        cycle.advance()
        join_background()
    raise AssertionError(f"still {cycle.phase} after {STEPS} steps")


def join_background() -> None:
    for thread in threading.enumerate():
        if thread.name == "retrainer-background":
            thread.join()


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


def test_an_untrainable_window_is_skipped_with_its_reason(harness: Harness) -> None:
    made = finish(harness.cycle(closed_window(0, trainable=False)))
    assert (made.status, made.reason, made.version) == (CandidateStatus.SKIPPED, "one class only", None)
    assert harness.workshop.jobs == []


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


def test_training_from_the_base_without_replay_waits_for_nobody(harness: Harness) -> None:
    harness.history.observe(candidate(0, version="1"))
    finish(harness.cycle(closed_window(1), settings=TrainingSettings(start="base", replay_share=0)))
    assert harness.workshop.waits == [DecisionWait()]


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


def test_a_stop_ends_the_job(harness: Harness) -> None:
    harness.workshop.endless = True
    cycle = harness.cycle()
    until(cycle, lambda: cycle.phase == "training")
    cycle.stop()
    assert [job.terminated for job in harness.workshop.jobs] == [True]


def test_merged_windows_fail_together(harness: Harness) -> None:
    harness.workshop.prepare_errors = [SnapshotError("gone")]
    made = finish(harness.cycle(closed_window(0), closed_window(1)))
    assert made.window_id == window_id(1)
    assert made.window_ids == (window_id(0), window_id(1))


def quality(distrust: str | None) -> LabelQuality:
    found = Suspects(suspicious=9, rows=10)
    return LabelQuality(report=QualityReport(window=found, sources={"shop": found}), distrust=distrust)


@pytest.mark.parametrize("when", ["in the job", "before a restart"])
def test_a_window_whose_labels_are_distrusted_gives_no_model(harness: Harness, when: str) -> None:
    why = "90% of its labels are suspicious"
    if when == "before a restart":
        harness.workshop.run.write(harness.workshop.run.quality_file, quality(why))
    else:
        harness.workshop.distrust = why
    made = finish(harness.cycle())
    assert (made.status, made.reason, made.version) == (CandidateStatus.DISTRUSTED, why, None)
    assert (made.run_id, made.numbers) == ("run of the look", quality(why).numbers())
    assert len(harness.workshop.jobs) == (0 if when == "before a restart" else 1)


def test_a_registry_that_is_away_is_waited_for_with_what_was_found(harness: Harness) -> None:
    harness.workshop.distrust = "90% of its labels are suspicious"
    harness.workshop.record_errors = [RegistryUnavailableError("down")]
    cycle = harness.cycle()
    with pytest.raises(RegistryUnavailableError):
        finish(cycle)
    assert finish(cycle).run_id == "run of the look"
    assert len(harness.workshop.jobs) == 1


def test_what_was_found_needs_no_record_to_count(harness: Harness) -> None:
    harness.workshop.distrust = "90% of its labels are suspicious"
    harness.workshop.record_errors = [RegistryRefusedError("no right to make runs")]
    made = finish(harness.cycle())
    assert (made.status, made.run_id) == (CandidateStatus.DISTRUSTED, None)


def test_a_window_whose_labels_were_looked_at_and_found_right_is_learned(harness: Harness) -> None:
    harness.workshop.run.write(harness.workshop.run.quality_file, quality(None))
    assert finish(harness.cycle()).status is CandidateStatus.READY


def test_a_rebuild_waits_for_no_decision(harness: Harness) -> None:
    harness.history.observe(candidate(0, version="1"))
    rebuild = Rebuild("rebuild-1", "1", "source=spam", windows=(closed_window(0),))
    finish(harness.rebuild(rebuild))
    assert harness.workshop.waits == [DecisionWait()]


def test_a_rebuild_that_cannot_be_made_out_is_answered_without_a_model(harness: Harness) -> None:
    made = finish(harness.rebuild(Rebuild("rebuild-1", "9", "source=spam", objection="no such version")))
    assert (made.window_id, made.window_ids, made.status) == ("rebuild-1", (), CandidateStatus.FAILED)
    assert (made.reason, made.rebuild_of, made.without) == ("no such version", "9", ("source=spam",))
    assert harness.workshop.jobs == []


def test_a_rebuild_without_rows_is_answered_too(harness: Harness) -> None:
    harness.workshop.prepare_errors = [RecordError("nothing is source=spam")]
    made = finish(harness.rebuild(Rebuild("rebuild-1", "9", "source=spam", windows=(closed_window(0),))))
    assert (made.window_id, made.window_ids, made.reason) == ("rebuild-1", (window_id(0),), "nothing is source=spam")
