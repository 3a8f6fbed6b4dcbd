"""The way of one order from its arrival to its candidate: a state machine of short steps, whatever is to be made."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from services.retrainer.background import Background
from services.retrainer.launcher import JobEnd
from services.retrainer.plan import DecisionWait
from services.retrainer.progress import Entry, Point
from services.retrainer.runs import WorkFolder
from shared.errors import ModelError, RecordError, RetryableError
from shared.events import CandidateStatus
from shared.metrics import JobMetrics
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


class AnyCandidate(Protocol):
    """What comes of an order: a model, or the reason why there is none."""

    @property
    def status(self) -> CandidateStatus: ...


Run = TypeVar("Run", bound=WorkFolder)
Made = TypeVar("Made", bound=AnyCandidate)
Made_co = TypeVar("Made_co", bound=AnyCandidate, covariant=True)


class Order(Protocol[Run, Made_co]):
    """What is to be made, and the work for it. `found`, `prepare` and `register` may block, and may be done again."""

    @property
    def name(self) -> str:
        """Of its run and its candidate."""

    def answer(self) -> Made_co | None:
        """The candidate, where no work is needed to know it."""

    def awaited(self) -> str | None:
        """The candidate before, by name, while the gate has yet to decide on it."""

    def found(self) -> Made_co | None:
        """The candidate whose model is registered already."""

    def prepare(self, wait: DecisionWait) -> Run:
        """A run folder that a job can work on."""

    def launch(self, run: Run) -> RunningJob:
        """Starts the job."""

    def register(self, run: Run) -> Made_co:
        """Registers what the finished job left."""

    def failed(self, reason: str) -> Made_co:
        """The candidate that says why there is no model."""


@dataclass
class Waiting:
    """For the gate to decide on the candidate before."""

    awaited: str | None
    since: float


@dataclass
class Ready(Generic[Run]):
    """A job can work on the run."""

    run: Run


@dataclass
class Done(Generic[Made]):
    """Nothing is left but to publish."""

    candidate: Made


@dataclass
class Preparing(Generic[Run, Made]):
    """Planning, rows and weights, in the background."""

    wait: DecisionWait
    task: Background[Ready[Run] | Done[Made]] | None = None


@dataclass
class Training(Generic[Run]):
    """The job is running."""

    run: Run
    job: RunningJob
    logged_at: float
    steps: int = 0


@dataclass
class Registering(Generic[Run, Made]):
    """The registry takes what the job left, in the background."""

    run: Run
    job_seconds: float
    task: Background[Made] | None = None


Phase = Waiting | Preparing[Run, Made] | Training[Run] | Registering[Run, Made] | Done[Made]


class Cycle(Generic[Run, Made]):
    """Turns an order into its one candidate. Make one for each; `advance` until it returns the candidate."""

    def __init__(
        self,
        order: Order[Run, Made],
        settings: TrainingSettings,
        metrics: JobMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: settings: how long it waits, and how often it tries."""
        self._order, self._settings, self._metrics, self._clock = order, settings, metrics, clock
        answer = order.answer()
        self._phase: Phase[Run, Made] = Done(answer) if answer else Waiting(order.awaited(), clock())

    @property
    def phase(self) -> str:
        """What it is doing, in one word, for the log."""
        return type(self._phase).__name__.lower()

    @property
    def is_done(self) -> bool:
        """Whether its candidate is there."""
        return isinstance(self._phase, Done)

    def advance(self) -> Made | None:
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
            case Done(candidate=candidate):
                return candidate
        return None

    def stop(self) -> None:
        """Ends the job, if one is running. Its checkpoints stay, and `advance` goes on from them."""
        if isinstance(self._phase, Training):
            self._phase.job.terminate()
            self._phase = Preparing(DecisionWait())
        self._metrics.progress.set(0)

    def _wait(self, phase: Waiting) -> Phase[Run, Made]:
        seconds = self._clock() - phase.since
        decided = phase.awaited is None or phase.awaited != self._order.awaited()
        if not decided and seconds < self._settings.decision_wait_seconds:
            return phase
        if not decided:
            log.warning("decision_not_waited_for", window_id=phase.awaited, seconds=round(seconds))
        waited = seconds if phase.awaited else 0.0
        return Preparing(DecisionWait(window_id=phase.awaited, seconds=waited, decided=decided))

    def _prepare(self, phase: Preparing[Run, Made]) -> Phase[Run, Made]:
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
        if isinstance(ready, Done):
            return ready
        return Registering(ready.run, 0.0) if ready.run.is_finished() else self._launched(ready.run)

    def _found_or_prepared(self, wait: DecisionWait) -> Ready[Run] | Done[Made]:
        found = self._order.found()
        return Done(found) if found else Ready(self._order.prepare(wait))

    def _launched(self, run: Run) -> Training[Run]:
        log.info("training", window_id=self._order.name, attempt=len(run.failures()) + 1)
        return Training(run, self._order.launch(run), self._clock())

    def _watch(self, phase: Training[Run]) -> Phase[Run, Made]:
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
        return Registering(phase.run, phase.job.seconds)

    def _report(self, phase: Training[Run], point: Point) -> None:
        self._metrics.steps.inc(max(0, point.step - phase.steps))
        phase.steps = point.step
        self._metrics.loss.set(point.loss)
        self._metrics.progress.set(point.step / point.total_steps)
        self._metrics.rows_per_second.set(point.rows_per_second)
        if self._clock() - phase.logged_at >= LOG_SECONDS:
            phase.logged_at = self._clock()
            log.info("trained", step=point.step, of=point.total_steps, loss=round(point.loss, 4))

    def _try_again(self, run: Run, reason: str) -> Phase[Run, Made]:
        failures = run.add_failure(reason)
        self._metrics.attempts_failed.inc()
        log.warning("attempt_failed", attempt=len(failures), of=self._settings.attempts, reason=reason)
        if len(failures) >= self._settings.attempts:
            return self._failed(f"{len(failures)} attempts failed; the last one: {reason}")
        return self._launched(run)

    def _register(self, phase: Registering[Run, Made]) -> Phase[Run, Made]:
        if phase.task is None:
            phase.task = Background(lambda: self._order.register(phase.run))
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
        if candidate.status is CandidateStatus.READY:
            self._metrics.seconds.observe(phase.job_seconds)
        return Done(candidate)

    def _failed(self, reason: str) -> Done[Made]:
        log.error("order_failed", window_id=self._order.name, reason=reason)
        return Done(self._order.failed(reason))
