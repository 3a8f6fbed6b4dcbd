"""One candidate from its arrival to a decision, in steps that may each be the last before a crash.

1. Look: known, skipped, failed or already decided (the version's tag) is not scored.
2. Score: in another process, on the same rows for all models; then gate and quarantine say what follows.
3. Record: decision, metrics and pictures to the candidate's MLflow run.
4. Tag: the decision on the version. From here on a restart finishes this decision instead of making another.
5. Crown: the alias, on a promotion only.
6. Settled: what is left is the ledger's entry together with the candidate's offset.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from pathlib import Path

import structlog

from services.evaluator.alias import move_alias
from services.evaluator.exam import Exam, Measured, Misconfigured, Model, Unavailable, Unusable
from services.evaluator.launcher import Scoring
from services.evaluator.ledger import Ledger
from services.evaluator.record import decision_tags, log_decision, log_picture, tagged_decision
from services.evaluator.suites import weigh
from services.evaluator.verdicts import failed, judged, unusable
from services.evaluator.windows import WindowBook
from shared.errors import ConfigurationError, RegistryRefusedError, RetryableError
from shared.events import Candidate, CandidateStatus, Decision, Verdict
from shared.metrics import EvaluatorMetrics
from shared.registry import Registry
from shared.retry import Backoff
from shared.settings import EvaluatorSettings

log = structlog.get_logger("trial")


class Stage(Enum):
    """What is to be done next."""

    LOOK = auto()
    SCORE = auto()
    RECORD = auto()
    TAG = auto()
    CROWN = auto()
    SETTLED = auto()


@dataclass(frozen=True)
class Desk:
    """What a trial works with."""

    settings: EvaluatorSettings
    registry: Registry
    windows: WindowBook
    launch: Callable[[Exam], Scoring]
    metrics: EvaluatorMetrics
    backoff: Backoff
    now: Callable[[], datetime]


class Trial:
    """One candidate's way through the steps. `decision` is None while there is none, and where none is needed."""

    def __init__(self, desk: Desk, candidate: Candidate, ledger: Ledger) -> None:
        """Args: ledger: as it stands; a trial is over when the ledger moves on without it."""
        self._desk, self._candidate, self._ledger = desk, candidate, ledger
        self.stage = Stage.LOOK
        self.decision: Decision | None = None
        self._exam: Exam | None = None
        self._scoring: Scoring | None = None
        self._failures = 0
        self._put_off = False
        self._pictures: tuple[Path, ...] = ()

    @property
    def is_open(self) -> bool:
        """Nothing is tagged yet, so that a rollback may still come before it, however long artifacts take."""
        return self.stage in (Stage.LOOK, Stage.SCORE, Stage.RECORD)

    def advance(self) -> bool:
        """Takes one bounded step; True once nothing but the ledger's entry is missing.

        A RetryableError leaves the stage as it is, or at the look before it: the step is taken again.
        """
        match self.stage:
            case Stage.LOOK:
                self.stage = self._look()
            case Stage.SCORE:
                self.stage = self._score()
            case Stage.RECORD:
                self.stage = self._record()
            case Stage.TAG:
                self.stage = self._tag()
            case Stage.CROWN:
                self.stage = self._crown()
            case Stage.SETTLED:
                pass
        return self.stage is Stage.SETTLED

    def close(self) -> None:
        """Ends the scoring if there is any."""
        if self._scoring is not None:
            self._scoring.close()
            self._scoring = None

    # 1. Look

    def _look(self) -> Stage:
        if self._put_off:
            # Longer each time, and here: until the wait is over, the service says that it is not ready.
            self._put_off = False
            self._desk.backoff.wait()
        candidate, ledger = self._candidate, self._ledger
        if candidate.status is CandidateStatus.SKIPPED or ledger.has_decided(candidate.window_id, candidate.version):
            return Stage.SETTLED
        if candidate.status is CandidateStatus.FAILED:
            return self._decided(failed(ledger, candidate, self._desk.now()))
        if candidate.version is None or candidate.model_digest is None:
            return self._unusable("the candidate names no version or no digest")
        self._desk.windows.refresh()
        if (decision := self._reached_before(candidate.version)) is not None:
            log.info("finishing", version=candidate.version, number=decision.number)
            return self._decided(decision, Stage.CROWN)
        if not self._desk.windows.knows(candidate.window_id):
            return self._unusable(f"its window {candidate.window_id} is not in windows.closed")
        self._exam = self._set_exam(Model(candidate.version, candidate.model_digest))
        return Stage.SCORE

    def _reached_before(self, number: str) -> Decision | None:
        version = self._desk.registry.version(number)
        if version is None:
            return None
        return tagged_decision(version.tags, self._ledger, self._candidate, self._desk.windows.snapshots())

    def _set_exam(self, challenger: Model) -> Exam:
        candidate, ledger = self._candidate, self._ledger
        size = self._desk.settings.gate.pool_rows
        pool = self._desk.windows.pool(candidate.window_id, ledger.quarantined, size)
        return Exam(
            challenger=challenger,
            champion=_champion(ledger),
            window_id=candidate.window_id,
            own_windows=(*candidate.window_ids, candidate.window_id),
            rows=pool.rows,
            label_counts=pool.label_counts,
            unreadable=pool.unreadable,
        )

    # 2. Score

    def _score(self) -> Stage:
        assert self._exam is not None
        if self._scoring is None:
            log.info("scoring", version=self._candidate.version, rows=len(self._exam.rows))
            self._scoring = self._desk.launch(self._exam)
        result = self._scoring.result()
        if result is None:
            return Stage.SCORE
        self.close()
        match result:
            case Measured():
                return self._weighed(self._exam, result)
            case Unusable():
                return self._failed_attempt(result.reason)
            case Unavailable():
                self.stage, self._put_off = Stage.LOOK, True
                raise RetryableError(f"version {self._candidate.version} cannot be scored yet: {result.reason}")
            case Misconfigured():
                raise ConfigurationError(result.reason)

    def _weighed(self, exam: Exam, measured: Measured) -> Stage:
        self._desk.backoff.reset()
        self._desk.metrics.rows_scored.inc(measured.asked)
        self._pictures = measured.pictures
        gate = self._desk.settings.gate
        weighed = weigh(exam, measured, gate)
        return self._decided(
            judged(self._ledger, self._candidate, exam, weighed, measured.scores, gate, self._desk.now())
        )

    def _failed_attempt(self, reason: str) -> Stage:
        self._failures += 1
        log.warning("unusable", version=self._candidate.version, reason=reason, attempt=self._failures)
        return Stage.SCORE if self._failures < self._desk.settings.attempts else self._unusable(reason)

    def _unusable(self, reason: str) -> Stage:
        gate, now = self._desk.settings.gate, self._desk.now()
        return self._decided(unusable(self._ledger, self._candidate, reason, gate, now))

    def _decided(self, decision: Decision, following: Stage = Stage.RECORD) -> Stage:
        self.decision = decision
        return following

    # 3. to 5.

    def _record(self) -> Stage:
        decision = self._reached()
        if decision.run_id is None:
            return Stage.TAG
        try:
            return self._record_next(decision.run_id, decision)
        except RegistryRefusedError as error:
            # A run that somebody deleted must not stop the ledger.
            log.error("not_recorded", run_id=decision.run_id, error=str(error))
            return Stage.TAG

    def _record_next(self, run_id: str, decision: Decision) -> Stage:
        """One picture a step: uploads are slow, and Kafka takes a member that does not poll for dead."""
        if self._pictures:
            log_picture(self._desk.registry, run_id, self._pictures[0])
            self._pictures = self._pictures[1:]
            return Stage.RECORD
        log_decision(self._desk.registry, run_id, decision)
        return Stage.TAG

    def _tag(self) -> Stage:
        decision = self._reached()
        if decision.version is not None and self._desk.registry.version(decision.version) is not None:
            self._desk.registry.set_tags(decision.version, decision_tags(decision))
        return Stage.CROWN

    def _crown(self) -> Stage:
        decision = self._reached()
        if decision.verdict is Verdict.PROMOTE:
            move_alias(self._desk.registry, decision, self._desk.metrics)
        return Stage.SETTLED

    def _reached(self) -> Decision:
        assert self.decision is not None
        return self.decision


def _champion(ledger: Ledger) -> Model | None:
    """The ledger's champion, never the alias's: after a crash that one may name the challenger itself."""
    if ledger.champion is None:
        return None
    digest = ledger.digest_of(ledger.champion)
    if digest is None:
        raise ConfigurationError(f"the ledger promoted version {ledger.champion} without the digest of its files")
    return Model(ledger.champion, digest)
