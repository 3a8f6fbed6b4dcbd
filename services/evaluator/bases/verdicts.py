"""Writes entries of the ledger of bases: what the gate said, and what failed before it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.gate import Ruling
from shared.events import BaseCandidate, BaseDecision, Verdict
from shared.gate_settings import BaseGateSettings


def judged(
    ledger: BaseLedger,
    candidate: BaseCandidate,
    ruling: Ruling,
    unreadable: Sequence[str],
    settings: BaseGateSettings,
    now: datetime,
) -> BaseDecision:
    """What the gate said. Args: unreadable: windows whose rows were left out, because their snapshots are lost."""
    lost = tuple(f"judged without {window}, whose snapshot cannot be read" for window in unreadable)
    parent, base = (_called(version) for version in (candidate.parent_version, ledger.base))
    line = () if parent == base else (f"compared with {parent}, which it grew from, not with {base}, which is in use",)
    return _next(
        ledger,
        candidate,
        now,
        verdict=ruling.verdict,
        reasons=(*ruling.reasons, *line, *lost),
        terms=ruling.terms,
        numbers=ruling.numbers,
        policy=settings.model_dump(mode="json"),
    )


def unusable(ledger: BaseLedger, candidate: BaseCandidate, reason: str, now: datetime) -> BaseDecision:
    """A base that could not be asked."""
    return _next(ledger, candidate, now, verdict=Verdict.REJECT, reasons=(f"unusable: {reason}",))


def without_base(ledger: BaseLedger, candidate: BaseCandidate, now: datetime) -> BaseDecision:
    """Text that gave no base, because its adaptation failed."""
    reason = f"adaptation failed: {candidate.reason or 'no reason given'}"
    return _next(ledger, candidate, now, verdict=Verdict.REJECT, reasons=(reason,), version=None)


def _called(version: str | None) -> str:
    return "the configured base" if version is None else f"base {version}"


def _next(ledger: BaseLedger, candidate: BaseCandidate, now: datetime, **fields: Any) -> BaseDecision:
    about = {
        "version": candidate.version,
        "window_id": candidate.window_id,
        "run_id": candidate.run_id,
        "model_digest": candidate.model_digest,
    } | fields
    return BaseDecision(
        number=ledger.number + 1,
        base_before=ledger.base,
        base_after=about["version"] if about["verdict"] is Verdict.PROMOTE else ledger.base,
        decided_at=now,
        **about,
    )
