"""One sitting of the gate, from a candidate's arrival to its entries; each step may be the last before a crash.

1. Look: known, skipped, failed or already decided (the version's tag) is not scored.
2. Score: the candidate and those that wait, in another process; then gate, quarantine and room say what follows.
3. Record: decisions, metrics, pictures and pages to the MLflow runs.
4. Tag: each version's decision, the candidate's last with the whole sitting. From here on a restart finishes this
   sitting instead of holding another.
5. Crown: the alias, on a promotion only.
6. Settled: what is left are the ledger's entries together with the candidate's offset.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

import structlog

from services.evaluator.alias import move_alias
from services.evaluator.attempts import Attempts
from services.evaluator.exam import (
    CHALLENGER,
    Contender,
    Exam,
    Exhibit,
    Measured,
    Model,
    Unusable,
    waiting_role,
)
from services.evaluator.launcher import Scoring
from services.evaluator.ledger import Ledger
from services.evaluator.papers import Paper, keep_next, papers
from services.evaluator.record import decision_tags, sitting_tag, tagged_sitting
from services.evaluator.serving import Serving
from services.evaluator.suites import weigh
from services.evaluator.verdicts import judged, unusable, without_model
from services.evaluator.windows import WindowBook
from shared.errors import ConfigurationError, RetryableError
from shared.events import Candidate, CandidateStatus, Decision, Verdict
from shared.metrics import EvaluatorMetrics
from shared.rebuilds import LeftOut
from shared.registry import CHAMPION, Registry
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
    launch: Callable[[Exam], Scoring[Measured]]
    serving: Callable[[str | None], Mapping[str, Serving]]
    metrics: EvaluatorMetrics
    backoff: Backoff
    now: Callable[[], datetime]


class Trial:
    """One candidate's way through the steps. `decisions` is empty while there are none, and where none is needed."""

    def __init__(self, desk: Desk, candidate: Candidate, ledger: Ledger) -> None:
        """Args: ledger: as it stands; a trial is over when the ledger moves on without it."""
        self._desk, self._candidate, self._ledger = desk, candidate, ledger
        self.stage = Stage.LOOK
        self.decisions: tuple[Decision, ...] = ()
        self._exam: Exam | None = None
        about = f"version {candidate.version}"
        self._attempts = Attempts(desk.launch, desk.settings, desk.backoff, about)
        self._exhibits: dict[str, Exhibit] = {}
        self._papers: deque[Paper] = deque()

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
        self._attempts.close()

    # 1. Look

    def _look(self) -> Stage:
        self._attempts.wait()
        candidate, ledger = self._candidate, self._ledger
        if candidate.status is CandidateStatus.SKIPPED or ledger.has_decided(candidate.window_id, candidate.version):
            return Stage.SETTLED
        self._desk.windows.refresh()
        if candidate.status in (CandidateStatus.FAILED, CandidateStatus.DISTRUSTED):
            return self._decided(without_model(ledger, candidate, self._desk.now()), following=Stage.RECORD)
        if candidate.version is None or candidate.model_digest is None:
            return self._unusable("the candidate names no version or no digest")
        if reached := self._reached_before(candidate.version):
            log.info("finishing", version=candidate.version, number=reached[0].number)
            return self._decided(*reached, following=Stage.CROWN)
        newest = self._newest_window()
        if newest is None or not self._desk.windows.knows(newest):
            return self._unusable(f"its window {newest or candidate.window_id} is not in windows.closed")
        self._exam = self._set_exam(Model(candidate.version, candidate.model_digest), newest)
        waiting = [contender.model.version for contender in self._exam.waiting]
        log.info("scoring", version=candidate.version, rows=len(self._exam.rows), waiting=waiting)
        return Stage.SCORE

    def _newest_window(self) -> str | None:
        """The last one whose rows decide: the candidate's own; of a rebuild, which brings none, the newest so far."""
        candidate, ledger = self._candidate, self._ledger
        if candidate.rebuild_of is None:
            return candidate.window_id
        seen = {*ledger.decided_windows, *candidate.window_ids}
        return self._desk.windows.newest_trusted(seen, ledger.quarantined)

    def _reached_before(self, number: str) -> tuple[Decision, ...]:
        version = self._desk.registry.version(number)
        if version is None:
            return ()
        return tagged_sitting(version.tags, self._ledger, self._candidate, self._desk.windows.snapshots())

    def _set_exam(self, challenger: Model, newest: str) -> Exam:
        candidate, ledger = self._candidate, self._ledger
        gate = self._desk.settings.gate
        births = {waiting_role(version): ledger.births[version] for version in ledger.waiting_versions}
        without = tuple(dict.fromkeys((*ledger.left_out, *candidate.without)))
        found = self._desk.windows.rows_on_trial(
            newest,
            ledger.quarantined,
            births={newest, *births.values()},
            promotion=ledger.promoted_with,
            gate=gate,
            without=LeftOut.of(without),
        )

        def contender(role: str, model: Model, birth: str) -> Contender:
            return Contender(role, model, found.mask(found.deciding[birth]))

        return Exam(
            challenger=contender(CHALLENGER, challenger, newest),
            champion=_model(ledger, ledger.champion),
            window_id=newest,
            own_windows=() if candidate.rebuild_of else (*candidate.window_ids, candidate.window_id),
            rows=found.rows,
            label_counts=found.label_counts,
            waiting=tuple(
                contender(role, Model(str(entry.version), str(entry.model_digest)), births[role])
                for role, entry in zip(births, ledger.waiting, strict=True)
            ),
            anchor=_model(ledger, ledger.anchor) if ledger.anchor != ledger.champion else None,
            since_promotion=found.mask(found.since_promotion),
            eras={name: found.mask(keys) for name, keys in found.eras.items()},
            unreadable=found.unreadable,
            without=without,
            left_out=found.left_out,
        )

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
                return self._weighed(self._exam, found)

    def _weighed(self, exam: Exam, measured: Measured) -> Stage:
        self._desk.metrics.rows_scored.inc(measured.new_answers)
        versions = {contender.role: contender.model.version for contender in exam.contenders}
        self._exhibits = {versions[role]: exhibit for role, exhibit in measured.exhibits.items()}
        gate = self._desk.settings.gate
        champion = exam.champion.version if exam.champion else None
        weighed = weigh(exam, measured, gate, self._desk.serving(champion))
        entries = judged(self._ledger, self._candidate, exam, weighed, measured.scores, gate, self._desk.now())
        return self._decided(*entries, following=Stage.RECORD)

    def _unusable(self, reason: str) -> Stage:
        gate, now = self._desk.settings.gate, self._desk.now()
        return self._decided(unusable(self._ledger, self._candidate, reason, gate, now), following=Stage.RECORD)

    def _decided(self, *decisions: Decision, following: Stage) -> Stage:
        self.decisions = decisions
        self._papers = deque(paper for decision in decisions for paper in self._papers_of(decision))
        return following

    def _papers_of(self, decision: Decision) -> list[Paper]:
        line = [*self._ledger.promotions.values(), *self._ledger.waiting, *self.decisions]
        candidate = self._candidate if self._is_candidates(decision) else None
        exhibit = self._exhibits.get(str(decision.version), Exhibit())
        window = self._desk.windows.find(str(decision.window_id)) if decision.version is None else None
        return papers(self._desk.registry, decision, exhibit, candidate, line, window)

    # 3. to 5.

    def _record(self) -> Stage:
        """One upload a step: they are slow, and Kafka takes a member that does not poll for dead."""
        if self._papers:
            keep_next(self._papers)
        return Stage.RECORD if self._papers else Stage.TAG

    def _tag(self) -> Stage:
        """The candidate's version last: its tag says that all the others are there."""
        for decision in sorted(self.decisions, key=self._is_candidates):
            if decision.version is None or self._desk.registry.version(decision.version) is None:
                continue
            whole = sitting_tag(self.decisions) if self._is_candidates(decision) else {}
            self._desk.registry.set_tags(decision.version, decision_tags(decision) | whole)
        return Stage.CROWN

    def _is_candidates(self, decision: Decision) -> bool:
        return decision.version == self._candidate.version

    def _crown(self) -> Stage:
        for decision in self.decisions:
            if decision.verdict is Verdict.PROMOTE:
                before, after = decision.champion_before, decision.champion_after
                move_alias(self._desk.registry, CHAMPION, before, after, self._desk.metrics.alias_repairs)
        return Stage.SETTLED


def _model(ledger: Ledger, version: str | None) -> Model | None:
    """By the ledger, never by the alias: after a crash that one may name the challenger itself."""
    if version is None:
        return None
    digest = ledger.digest_of(version)
    if digest is None:
        raise ConfigurationError(f"the ledger promoted version {version} without the digest of its files")
    return Model(version, digest)
