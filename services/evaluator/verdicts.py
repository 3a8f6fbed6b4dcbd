"""Writes ledger entries: what the gate said, what failed before it, and what an operator ordered. Pure."""

from datetime import datetime
from typing import Any

from services.evaluator.exam import Exam
from services.evaluator.gate import Challenge, ProbeResult, Ruling, decide
from services.evaluator.ledger import Ledger
from services.evaluator.suites import Weighed
from shared.events import Candidate, Command, Decision, Score, Verdict
from shared.settings import GateSettings


def judged(
    ledger: Ledger,
    candidate: Candidate,
    exam: Exam,
    weighed: Weighed,
    scores: tuple[Score, ...],
    settings: GateSettings,
    now: datetime,
) -> Decision:
    """The gate's verdict as the next entry."""
    ruling, quarantine = weighed.ruling, weighed.quarantine
    distrust = (f"window quarantined: {quarantine.reason}",) if quarantine.quarantine else ()
    lost = tuple(f"judged without {window}, whose snapshot cannot be read" for window in exam.unreadable)
    return _entry(
        ledger,
        candidate,
        ruling,
        settings,
        now,
        reasons=(*ruling.reasons, *distrust, *lost),
        numbers=ruling.numbers | quarantine.numbers,
        scores=scores,
        quarantined=quarantine.quarantine,
    )


def unusable(ledger: Ledger, candidate: Candidate, reason: str, settings: GateSettings, now: datetime) -> Decision:
    """A challenger that could not be asked, rejected by the gate's own term."""
    challenge = Challenge(ProbeResult(loaded=False, detail=f"unusable: {reason}"))
    return _entry(ledger, candidate, decide(challenge, settings), settings, now)


def failed(ledger: Ledger, candidate: Candidate, now: datetime) -> Decision:
    """A window whose training gave no model."""
    return _unmoved(
        ledger,
        now,
        version=None,
        window_id=candidate.window_id,
        run_id=candidate.run_id,
        verdict=Verdict.REJECT,
        reasons=(f"training failed: {candidate.reason or 'no reason given'}",),
    )


def rolled_back(ledger: Ledger, command: Command, target: str, now: datetime) -> Decision:
    """An operator's return to a version that was champion before."""
    promotion = ledger.promotions[target]
    return _unmoved(
        ledger,
        now,
        version=target,
        window_id=None,
        run_id=promotion.run_id,
        model_digest=promotion.model_digest,
        verdict=Verdict.ROLLBACK,
        reasons=(command.why,),
        decided_by=command.who,
        command_id=command.command_id,
    ).model_copy(update={"champion_after": target})


def refused(ledger: Ledger, command: Command, reason: str, now: datetime) -> Decision:
    """An order that cannot be followed; on record, so that it is never followed later by surprise."""
    return _unmoved(
        ledger,
        now,
        version=None,
        window_id=None,
        verdict=Verdict.REJECT,
        reasons=(f"rollback refused: {reason}", command.why),
        decided_by=command.who,
        command_id=command.command_id,
    )


def rollback_target(ledger: Ledger, command: Command) -> str | None:
    """The version that a rollback leads to; None if there is none that was champion before this one."""
    target = ledger.previous_champion if command.target is None else command.target
    return target if target in ledger.promotions and target != ledger.champion else None


def _entry(
    ledger: Ledger, candidate: Candidate, ruling: Ruling, settings: GateSettings, now: datetime, **more: Any
) -> Decision:
    entry = _unmoved(
        ledger,
        now,
        version=candidate.version,
        window_id=candidate.window_id,
        run_id=candidate.run_id,
        model_digest=candidate.model_digest,
        verdict=ruling.verdict,
        need_rows=ruling.need_rows,
        terms=ruling.terms,
        policy=settings.model_dump(mode="json"),
        **({"reasons": ruling.reasons, "numbers": ruling.numbers} | more),
    )
    if ruling.verdict is not Verdict.PROMOTE:
        return entry
    return entry.model_copy(update={"champion_after": candidate.version})


def _unmoved(ledger: Ledger, now: datetime, **fields: Any) -> Decision:
    """The next entry of the ledger, which leaves the champion where it is."""
    return Decision(
        number=ledger.number + 1,
        champion_before=ledger.champion,
        champion_after=ledger.champion,
        decided_at=now,
        **fields,
    )
