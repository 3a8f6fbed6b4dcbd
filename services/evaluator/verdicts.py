"""Writes ledger entries: what the gate said, what failed before it, and what an operator ordered. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.evaluator.exam import CHALLENGER, Exam, waiting_role
from services.evaluator.gate import Challenge, ProbeResult, Ruling, decide
from services.evaluator.ledger import WATCH, Ledger
from services.evaluator.quarantine import QuarantineVerdict
from services.evaluator.suites import Weighed
from services.evaluator.waiting import Settled, settle_sitting
from shared.events import Candidate, CandidateStatus, Command, Decision, Score, Verdict
from shared.settings import GateSettings

_DAY = timedelta(days=1)


def judged(
    ledger: Ledger,
    candidate: Candidate,
    exam: Exam,
    weighed: Weighed,
    scores: Mapping[str, tuple[Score, ...]],
    settings: GateSettings,
    now: datetime,
) -> tuple[Decision, ...]:
    """One entry for everybody on trial; a promotion comes first, because it closes the others' cases."""
    anchor = ledger.champion if weighed.anchor.advances else ledger.anchor
    settled = settle_sitting(weighed.rulings, settings.waiting)
    entries: list[Decision] = []
    for role in sorted(settled, key=lambda role: settled[role].verdict is not Verdict.PROMOTE):
        about = _about_candidate(candidate) if role == CHALLENGER else _about_waiting(ledger, role)
        sealed = _seal(settled[role], weighed.rulings[role], about, settings)
        sealed |= {"scores": scores.get(role, ()), "looked_window_id": exam.window_id}
        sealed["numbers"] |= weighed.anchor.numbers
        sealed = _with_left_out(sealed, exam)
        if role == CHALLENGER:
            sealed = _with_distrust(sealed, weighed.quarantine, exam.unreadable)
        entries.append(_next(ledger.after_all(entries), now, anchor=anchor, **sealed))
    return tuple(entries)


def _about_candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "version": candidate.version,
        "window_id": candidate.window_id,
        "run_id": candidate.run_id,
        "model_digest": candidate.model_digest,
        "without": candidate.without,
    }


def _about_waiting(ledger: Ledger, role: str) -> dict[str, Any]:
    entry = next(entry for entry in ledger.waiting if entry.version and waiting_role(entry.version) == role)
    return {name: getattr(entry, name) for name in ("version", "window_id", "run_id", "model_digest", "without")}


def _seal(settled: Settled, ruling: Ruling, about: dict[str, Any], settings: GateSettings) -> dict[str, Any]:
    return about | {
        "verdict": settled.verdict,
        "reasons": settled.reasons,
        "need_rows": settled.need_rows,
        "terms": ruling.terms,
        "numbers": dict(ruling.numbers),
        "policy": settings.model_dump(mode="json"),
    }


def _with_left_out(sealed: dict[str, Any], exam: Exam) -> dict[str, Any]:
    if not exam.without:
        return sealed
    said = f"judged without {' and '.join(exam.without)}: {exam.left_out} held-out reviews decide about nobody"
    return sealed | {
        "reasons": (*sealed["reasons"], said),
        "numbers": sealed["numbers"] | {"left_out_rows": exam.left_out},
    }


def _with_distrust(
    sealed: dict[str, Any], quarantine: QuarantineVerdict, unreadable: tuple[str, ...]
) -> dict[str, Any]:
    distrust = (f"window quarantined: {quarantine.reason}",) if quarantine.quarantine else ()
    lost = tuple(f"judged without {window}, whose snapshot cannot be read" for window in unreadable)
    return sealed | {
        "reasons": (*sealed["reasons"], *distrust, *lost),
        "numbers": sealed["numbers"] | quarantine.numbers,
        "quarantined": quarantine.quarantine,
    }


def unusable(ledger: Ledger, candidate: Candidate, reason: str, settings: GateSettings, now: datetime) -> Decision:
    """A challenger that could not be asked, rejected by the gate's own term."""
    ruling = decide(Challenge(ProbeResult(loaded=False, detail=f"unusable: {reason}")), settings)
    settled = Settled(ruling.verdict, ruling.reasons)
    return _next(ledger, now, **_seal(settled, ruling, _about_candidate(candidate), settings))


def without_model(ledger: Ledger, candidate: Candidate, now: datetime) -> Decision:
    """A window that gave no model: its training failed, or its labels were not learned and it is locked away."""
    distrusted = candidate.status is CandidateStatus.DISTRUSTED
    return _next(
        ledger,
        now,
        version=None,
        window_id=candidate.window_id,
        run_id=candidate.run_id,
        without=candidate.without,
        verdict=Verdict.REJECT,
        reasons=(
            f"{'window quarantined' if distrusted else 'training failed'}: {candidate.reason or 'no reason given'}",
        ),
        numbers=candidate.numbers,
        quarantined=distrusted,
    )


def rolled_back(ledger: Ledger, command: Command, target: str, now: datetime) -> tuple[Decision, ...]:
    """A return to a version that was champion before; whoever waits was compared with the deposed one, and goes."""
    promotion = ledger.promotions[target]
    rollback = _next(
        ledger,
        now,
        version=target,
        window_id=None,
        run_id=promotion.run_id,
        model_digest=promotion.model_digest,
        without=promotion.without,
        verdict=Verdict.ROLLBACK,
        reasons=(command.why,),
        decided_by=command.who,
        command_id=command.command_id,
        numbers=command.numbers,
        anchor=ledger.anchor_after_rollback(target),
    )
    entries = [rollback]
    for role in map(waiting_role, ledger.waiting_versions):
        reasons = (f"the champion that it was compared with was rolled back: {command.why}",)
        about = _about_waiting(ledger, role)
        entries.append(_next(ledger.after_all(entries), now, verdict=Verdict.REJECT, reasons=reasons, **about))
    return tuple(entries)


def refused(ledger: Ledger, command: Command, reason: str, now: datetime) -> Decision:
    """An order that cannot be followed; on record, so that it is never followed later by surprise."""
    return _next(
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


def objection(ledger: Ledger, command: Command, watch_per_day: int, now: datetime) -> str | None:
    """Why a rollback is out of place: it is about another champion, or the watch has rolled back enough for a day."""
    if command.against not in (None, ledger.champion):
        return f"version {command.against} is not the champion any more"
    if command.who == WATCH and (done := ledger.rollbacks_by_watch(now - _DAY)) >= watch_per_day:
        return f"the watch has rolled back {done} times within 24 hours, of at most {watch_per_day}"
    return None


def _next(ledger: Ledger, now: datetime, **fields: Any) -> Decision:
    """The next entry of the ledger; only a promotion or a rollback moves the champion."""
    moves = fields["verdict"] in (Verdict.PROMOTE, Verdict.ROLLBACK)
    after = fields["version"] if moves else ledger.champion
    anchor = fields.pop("anchor", ledger.anchor)
    return Decision(
        number=ledger.number + 1,
        champion_before=ledger.champion,
        champion_after=after,
        # The first champion has nothing before it that could be slid away from.
        anchor=anchor or after,
        decided_at=now,
        **fields,
    )
