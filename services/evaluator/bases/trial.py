"""One sitting of the gate of bases, from a candidate's arrival to its entry; each step may be the last before a crash.

1. Look: known, failed or already decided (the version's tag) is not scored.
2. Score: both bases and the classifiers made of them, in another process; then the gate.
3. Record: decision, metrics and page to the MLflow run.
4. Tag: the version's decision. From here on a restart finishes this sitting instead of holding another.
5. Crown: the alias, on a promotion only.
6. Settled: what is left is the ledger's entry together with the candidate's offset.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

import structlog

from services.evaluator.alias import move_alias
from services.evaluator.attempts import Attempts
from services.evaluator.bases.exam import BaseExam
from services.evaluator.bases.gate import Comparison, decide
from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.record import base_papers, tagged_decision
from services.evaluator.bases.stream import StreamBook
from services.evaluator.bases.verdicts import judged, unusable, without_base
from services.evaluator.exam import Model, Unusable
from services.evaluator.launcher import Scoring
from services.evaluator.papers import Paper, keep_next
from services.evaluator.record import decision_tags
from shared.errors import RetryableError
from shared.events import BaseCandidate, BaseDecision, CandidateStatus
from shared.metrics import BasesMetrics
from shared.registry import BASE, Registry
from shared.retry import Backoff
from shared.settings import EvaluatorSettings

log = structlog.get_logger("bases")


class Stage(Enum):
    """What is to be done next."""

    LOOK = auto()
    SCORE = auto()
    RECORD = auto()
    TAG = auto()
    CROWN = auto()
    SETTLED = auto()


@dataclass(frozen=True)
class BaseDesk:
    """What a trial works with. `registry`: of bases."""

    settings: EvaluatorSettings
    registry: Registry
    stream: StreamBook
    launch: Callable[[BaseExam], Scoring[Comparison]]
    metrics: BasesMetrics
    backoff: Backoff
    now: Callable[[], datetime]


class BaseTrial:
    """One candidate's way through the steps. `decision` is None while there is none, and where none is needed."""

    def __init__(self, desk: BaseDesk, candidate: BaseCandidate, ledger: BaseLedger) -> None:
        """Args: ledger: as it stands."""
        self._desk, self._candidate, self._ledger = desk, candidate, ledger
        self.stage = Stage.LOOK
        self.decision: BaseDecision | None = None
        self._exam: BaseExam | None = None
        self._unreadable: tuple[str, ...] = ()
        self._attempts = Attempts(desk.launch, desk.settings, desk.backoff, f"base {candidate.version}")
        self._papers: deque[Paper] = deque()

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
        self._attempts.close()

    # 1. Look

    def _look(self) -> Stage:
        self._attempts.wait()
        candidate, ledger = self._candidate, self._ledger
        if ledger.has_decided(candidate.window_id, candidate.version):
            return Stage.SETTLED
        if candidate.status is CandidateStatus.FAILED:
            return self._decided(without_base(ledger, candidate, self._desk.now()))
        if candidate.version is None or candidate.model_digest is None:
            return self._unusable("the candidate names no version or no digest")
        if candidate.run_id is None or candidate.exam_digest is None:
            return self._unusable("the candidate names nothing that it could be compared with")
        if reached := self._reached_before(candidate.version):
            log.info("finishing", version=candidate.version, number=reached.number)
            self.decision = reached
            return Stage.CROWN
        self._desk.stream.refresh()
        if unknown := self._desk.stream.unknown([candidate.window_id], candidate.probe_window_ids):
            return self._unusable(f"its windows {', '.join(unknown)} were never closed")
        if not candidate.probe_window_ids:
            return self._unusable("the candidate does not say on which labels both bases were fine-tuned")
        model = Model(candidate.version, candidate.model_digest)
        self._exam = self._set_exam(model, candidate.run_id, candidate.exam_digest)
        return Stage.SCORE

    def _reached_before(self, number: str) -> BaseDecision | None:
        version = self._desk.registry.version(number)
        return None if version is None else tagged_decision(version.tags, self._ledger, self._candidate)

    def _set_exam(self, model: Model, run_id: str, exam_digest: str) -> BaseExam:
        gate, candidate = self._desk.settings.base_gate, self._candidate
        texts = self._desk.stream.texts(candidate.window_id, gate.text_rows)
        rows = self._desk.stream.rows(candidate.probe_window_ids, gate.probe_rows)
        self._unreadable = (*texts.unreadable, *rows.unreadable)
        log.info("scoring", version=model.version, texts=len(texts.texts), rows=len(rows.rows))
        return BaseExam(model, run_id, exam_digest, texts.texts, rows.rows)

    # 2. Score

    def _score(self) -> Stage:
        assert self._exam is not None
        try:
            found = self._attempts.result(self._exam)
        except RetryableError:
            self.stage = Stage.LOOK
            raise
        match found:
            case None:
                return Stage.SCORE
            case Unusable():
                return self._unusable(found.reason)
            case _:
                return self._weighed(found)

    def _weighed(self, found: Comparison) -> Stage:
        gate, now = self._desk.settings.base_gate, self._desk.now()
        ruling = decide(found, gate)
        return self._decided(judged(self._ledger, self._candidate, ruling, self._unreadable, gate, now))

    def _unusable(self, reason: str) -> Stage:
        return self._decided(unusable(self._ledger, self._candidate, reason, self._desk.now()))

    def _decided(self, decision: BaseDecision) -> Stage:
        self.decision = decision
        self._papers = deque(base_papers(self._desk.registry, decision, self._candidate))
        return Stage.RECORD

    # 3. to 5.

    def _record(self) -> Stage:
        """One upload a step: they are slow, and Kafka takes a member that does not poll for dead."""
        if self._papers:
            keep_next(self._papers)
        return Stage.RECORD if self._papers else Stage.TAG

    def _tag(self) -> Stage:
        decision, registry = self.decision, self._desk.registry
        assert decision is not None
        if decision.version is not None and registry.version(decision.version) is not None:
            registry.set_tags(decision.version, decision_tags(decision))
        return Stage.CROWN

    def _crown(self) -> Stage:
        decision = self.decision
        assert decision is not None
        if decision.base_after != decision.base_before:
            repairs = self._desk.metrics.alias_repairs
            move_alias(self._desk.registry, BASE, decision.base_before, decision.base_after, repairs)
        return Stage.SETTLED
