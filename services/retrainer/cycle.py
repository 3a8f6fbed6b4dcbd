"""The way of one window, or of several merged ones, from arrival to candidate: a state machine of short steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.retrainer.background import Background
from services.retrainer.history import History
from services.retrainer.launcher import JobEnd
from services.retrainer.plan import DecisionWait
from services.retrainer.progress import Entry, Point
from services.retrainer.rebuild import Rebuild
from services.retrainer.runs import RunFolder
from shared.errors import ModelError, RecordError, RetryableError, TidemillError
from shared.events import Candidate, CandidateStatus, ClosedWindow, utc_now
from shared.metrics import RetrainerMetrics
from shared.training_settings import TrainingSettings

log = structlog.get_logger("retrainer")
LOG_SECONDS = 10.0


class RunningJob(Protocol):
    """A job under way, as the launcher gives it."""

    @property
    def seconds(self) -> float:
        """Since its start."""

    def progress(self) -> list[Entry]:
        """What it reported since the last call."""

    def poll(self) -> JobEnd | None:
        """None while it runs."""

    def terminate(self) -> None:
        """Ends it at once."""


class Workshop(Protocol):
    """What a cycle has done for it. All of it may block, except `launch`, and may be done again."""

    def found(self, windows: Sequence[ClosedWindow]) -> Candidate | None:
        """The candidate of windows whose model is registered already."""

    def prepare(self, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> RunFolder:
        """A run folder that a job can work on."""

    def launch(self, run: RunFolder) -> RunningJob:
        """Starts the job."""

    def register(self, run: RunFolder, history: History) -> Candidate:
        """Registers the finished run."""

    def record_look(self, run: RunFolder, windows: Sequence[ClosedWindow]) -> str:
        """Records what was found wrong with the labels; returns the id of the record's run."""


@dataclass
class Waiting:
    """For the gate to decide on the candidate before."""

    awaited: str | None
    since: float


@dataclass
class Preparing:
    """Planning, rows and weights, in the background."""

    wait: DecisionWait
    task: Background[RunFolder | Candidate] | None = None


@dataclass
class Training:
    """The job is running."""

    run: RunFolder
    job: RunningJob
    logged_at: float
    steps: int = 0


@dataclass
class Registering:
    """The registry takes the model, in the background."""

    run: RunFolder
    job_seconds: float
    task: Background[Candidate] | None = None


@dataclass
class Recording:
    """The registry takes what was found wrong with the labels, in the background."""

    run: RunFolder
    candidate: Candidate
    task: Background[str] | None = None


@dataclass
class Done:
    """Nothing is left but to publish."""

    candidate: Candidate


Phase = Waiting | Preparing | Training | Registering | Recording | Done


class Cycle:
    """Turns given windows into one candidate. Make one for each; `advance` until it returns the candidate."""

    def __init__(
        self,
        windows: Sequence[ClosedWindow],
        history: History,
        workshop: Workshop,
        settings: TrainingSettings,
        metrics: RetrainerMetrics,
        clock: Callable[[], float] = time.monotonic,
        rebuild: Rebuild | None = None,
    ) -> None:
        """Args: windows: oldest first; several only if all are trainable. rebuild: what they are trained again for."""
        self.windows, self._rebuild = tuple(windows), rebuild
        self._name = rebuild.name if rebuild else self.windows[-1].window_id
        self._history, self._workshop, self._settings = history, workshop, settings
        self._metrics, self._clock = metrics, clock
        self._phase: Phase = self._first_phase()

    @property
    def phase(self) -> str:
        """What it is doing, in one word, for the log."""
        return type(self._phase).__name__.lower()

    def advance(self) -> Candidate | None:
        """One short step; the candidate once there is one, again at every call.

        Raises:
            RetryableError: The registry or the archive is not there; the next call tries again.
        """
        match self._phase:
            case Waiting() as phase:
                self._phase = self._wait(phase)
            case Preparing() as phase:
                self._phase = self._prepare(phase)
            case Training() as phase:
                self._phase = self._watch(phase)
            case Registering() as phase:
                self._phase = self._register(phase)
            case Recording() as phase:
                self._phase = self._record(phase)
            case Done(candidate=candidate):
                return candidate
        return None

    def stop(self) -> None:
        """Ends the job, if one is running; its checkpoints stay."""
        if isinstance(self._phase, Training):
            self._phase.job.terminate()
        self._metrics.progress.set(0)

    def _first_phase(self) -> Phase:
        if self._rebuild is not None:
            why = self._rebuild.objection
            return Preparing(DecisionWait()) if why is None else self._failed(why)
        newest = self.windows[-1]
        if not newest.trainable:
            return Done(self._without_model(CandidateStatus.SKIPPED, newest.not_trainable_because or "not trainable"))
        awaited = self._history.undecided() if self._depends_on_decisions() else None
        return Waiting(awaited, self._clock())

    def _depends_on_decisions(self) -> bool:
        return self._settings.start != "base" or self._settings.replay_share > 0

    def _wait(self, phase: Waiting) -> Phase:
        seconds = self._clock() - phase.since
        decided = phase.awaited is None or phase.awaited != self._history.undecided()
        if not decided and seconds < self._settings.decision_wait_seconds:
            return phase
        if not decided:
            log.warning("decision_not_waited_for", window_id=phase.awaited, seconds=round(seconds))
        waited = seconds if phase.awaited else 0.0
        return Preparing(DecisionWait(window_id=phase.awaited, seconds=waited, decided=decided))

    def _prepare(self, phase: Preparing) -> Phase:
        if phase.task is None:
            phase.task = Background(lambda: self._found_or_prepared(phase.wait))
        if not phase.task.done:
            return phase
        try:
            ready = phase.task.result()
        except RetryableError:
            phase.task = None
            raise
        except RecordError as error:
            # Rows or weights that are wrong do not get right by trying again.
            return self._failed(str(error))
        if isinstance(ready, Candidate):
            return Done(ready)
        if ready.distrust() is not None:
            return self._distrusted(ready)
        return self._launched(ready) if ready.result() is None else Registering(ready, 0.0)

    def _found_or_prepared(self, wait: DecisionWait) -> RunFolder | Candidate:
        found = self._workshop.found(self.windows)
        return found or self._workshop.prepare(self.windows, self._history, wait)

    def _launched(self, run: RunFolder) -> Phase:
        log.info("training", window_id=self._name, attempt=len(run.failures()) + 1)
        return Training(run, self._workshop.launch(run), self._clock())

    def _watch(self, phase: Training) -> Phase:
        end = phase.job.poll()
        for entry in phase.job.progress():
            if isinstance(entry, Point):
                self._report(phase, entry)
            else:
                phase.steps = entry.resumed_from
        if end is None:
            return phase
        self._metrics.progress.set(0)
        if end.reason is not None:
            return self._try_again(phase.run, end.reason)
        if phase.run.distrust() is not None:
            return self._distrusted(phase.run)
        return Registering(phase.run, phase.job.seconds)

    def _report(self, phase: Training, point: Point) -> None:
        self._metrics.steps.inc(max(0, point.step - phase.steps))
        phase.steps = point.step
        self._metrics.loss.set(point.loss)
        self._metrics.progress.set(point.step / point.total_steps)
        self._metrics.rows_per_second.set(point.rows_per_second)
        if self._clock() - phase.logged_at >= LOG_SECONDS:
            phase.logged_at = self._clock()
            log.info("trained", step=point.step, of=point.total_steps, loss=round(point.loss, 4))

    def _try_again(self, run: RunFolder, reason: str) -> Phase:
        failures = run.add_failure(reason)
        self._metrics.attempts_failed.inc()
        log.warning("attempt_failed", attempt=len(failures), of=self._settings.attempts, reason=reason)
        if len(failures) >= self._settings.attempts:
            return self._failed(f"{len(failures)} attempts failed; the last one: {reason}")
        return self._launched(run)

    def _register(self, phase: Registering) -> Phase:
        if phase.task is None:
            phase.task = Background(lambda: self._workshop.register(phase.run, self._history))
        if not phase.task.done:
            return phase
        try:
            candidate = phase.task.result()
        except RetryableError:
            phase.task = None
            raise
        except ModelError as error:
            phase.run.result_file.unlink()
            return self._try_again(phase.run, str(error))
        except RecordError as error:
            return self._failed(str(error))
        self._metrics.training_seconds.observe(phase.job_seconds)
        return Done(candidate)

    def _distrusted(self, run: RunFolder) -> Recording:
        quality = run.quality()
        assert quality is not None
        assert quality.distrust is not None
        log.warning("window_distrusted", window_id=self._name, reason=quality.distrust)
        candidate = self._without_model(CandidateStatus.DISTRUSTED, quality.distrust, quality.numbers())
        return Recording(run, candidate)

    def _record(self, phase: Recording) -> Phase:
        if phase.task is None:
            phase.task = Background(lambda: self._workshop.record_look(phase.run, self.windows))
        if not phase.task.done:
            return phase
        try:
            run_id = phase.task.result()
        except RetryableError:
            phase.task = None
            raise
        except TidemillError as error:
            # The record is for people; what becomes of the window goes by the candidate.
            log.error("look_not_recorded", window_id=self._name, error=str(error))
            return Done(phase.candidate)
        return Done(phase.candidate.model_copy(update={"run_id": run_id}))

    def _failed(self, reason: str) -> Done:
        log.error("window_failed", window_id=self._name, reason=reason)
        return Done(self._without_model(CandidateStatus.FAILED, reason))

    def _without_model(
        self, status: CandidateStatus, reason: str, numbers: Mapping[str, float] | None = None
    ) -> Candidate:
        return Candidate(
            window_id=self._name,
            window_ids=tuple(window.window_id for window in self.windows),
            status=status,
            reason=reason,
            numbers=dict(numbers or {}),
            rebuild_of=self._rebuild.version if self._rebuild else None,
            without=self._rebuild.without if self._rebuild else (),
            created_at=utc_now(),
        )
