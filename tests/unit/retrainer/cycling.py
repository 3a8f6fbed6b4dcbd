"""A cycle whose work is done by doubles: what goes wrong is told beforehand."""

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
from shared.events import Candidate, ClosedWindow, TrainingMetrics
from shared.label_quality import LabelQuality, QualityReport, Suspects
from shared.metrics import RetrainerMetrics
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import SHA, candidate, closed_window

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


def quality(distrust: str | None) -> LabelQuality:
    found = Suspects(suspicious=9, rows=10)
    return LabelQuality(report=QualityReport(window=found, sources={"shop": found}), distrust=distrust)


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
