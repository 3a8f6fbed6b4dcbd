"""Judges one challenger by one term: what cannot answer, what is proven, and what a promotion is for."""

import math

from services.evaluator.challenge import REQUIRED_METRICS, Challenge, ProbeResult
from services.evaluator.comparison import Flips, evidence, harm, interval, more_rows
from services.evaluator.vetoes import judge_veto
from shared.events import Outcome, TermResult
from shared.gate_settings import (
    AheadTermSettings,
    AnchorTermSettings,
    AnswersTermSettings,
    BaselineTermSettings,
    MetricsTermSettings,
    ProvenWorseTermSettings,
    SafeTermSettings,
    TermSettings,
)


def judge(term: TermSettings, challenge: Challenge) -> TermResult:
    """One term's result, with the numbers that it was judged on."""
    match term:
        case AnswersTermSettings():
            return _answers(term, challenge.probe)
        case MetricsTermSettings():
            return _metrics_complete(term, challenge)
        case ProvenWorseTermSettings():
            return _not_worse(term, challenge.flips)
        case SafeTermSettings():
            return _safe(term, challenge.flips, margin_of(term, challenge))
        case AnchorTermSettings():
            return _anchor(term, challenge)
        case AheadTermSettings():
            return _ahead(term, challenge.flips)
        case BaselineTermSettings():
            return _baseline(term, challenge)
        case _:
            return judge_veto(term, challenge)


def margin_of(term: SafeTermSettings, challenge: Challenge) -> float:
    """Accuracy that may be lost; none against a baseline: the first model must be better, not merely no worse."""
    return 0.0 if challenge.against_baseline else term.margin


def _answers(term: AnswersTermSettings, probe: ProbeResult) -> TermResult:
    said = f"answered {probe.answered} of {probe.asked} known questions" if probe.loaded else "did not load"
    return TermResult(
        name=term.kind,
        outcome=Outcome.PASS if probe.ok else Outcome.FAIL,
        guard=term.guard,
        value=probe.answered,
        threshold=probe.asked,
        detail=f"{said}: {probe.detail}" if probe.detail else said,
    )


def _metrics_complete(term: MetricsTermSettings, challenge: Challenge) -> TermResult:
    missing = [name for name in REQUIRED_METRICS if not _is_number(challenge.metrics.get(name))]
    outcome, detail = Outcome.PASS, f"all {len(REQUIRED_METRICS)} metrics are numbers"
    if not challenge.flips.rows:
        outcome, detail = Outcome.UNDECIDED, "no held-out rows to measure on"
    elif missing:
        outcome, detail = Outcome.FAIL, f"missing or not a number: {', '.join(missing)}"
    return TermResult(
        name=term.kind,
        outcome=outcome,
        guard=term.guard,
        value=len(REQUIRED_METRICS) - len(missing),
        threshold=len(REQUIRED_METRICS),
        rows=challenge.flips.rows,
        detail=detail,
    )


def _not_worse(term: ProvenWorseTermSettings | BaselineTermSettings, flips: Flips) -> TermResult:
    found = harm(flips)
    outcome, relation = Outcome.PASS, "is below"
    if found >= term.odds:
        outcome, relation = Outcome.FAIL, "reaches"
    elif not flips.rows:
        outcome = Outcome.UNDECIDED
    detail = f"evidence {found:.4g} that it is worse {relation} {term.odds:g}; {_seen(flips)}"
    return _compared(term, outcome, flips, value=found, threshold=term.odds, detail=detail)


def _baseline(term: BaselineTermSettings, challenge: Challenge) -> TermResult:
    if challenge.against_baseline:
        return _unjudged(term, Outcome.NOT_APPLICABLE, "the baseline is the opponent")
    if challenge.baseline is None:
        return _unjudged(term, Outcome.UNDECIDED, "not compared with the baseline")
    return _not_worse(term, challenge.baseline)


def _safe(term: SafeTermSettings | AnchorTermSettings, flips: Flips, margin: float) -> TermResult:
    found, need = evidence(flips, above=-margin), more_rows(flips, margin, term.odds)
    claim = f"evidence {found:.4g} that it is {f'at most {100 * margin:g} points worse' if margin else 'better'}"
    if found >= term.odds:
        detail = f"{claim} reaches {term.odds:g}; {_seen(flips)}"
        return _compared(term, Outcome.PASS, flips, value=found, threshold=term.odds, detail=detail)
    detail = f"{claim} is below {term.odds:g}: about an even chance within {need} more labels; {_seen(flips)}"
    return _compared(term, Outcome.UNDECIDED, flips, value=found, threshold=term.odds, detail=detail, need_rows=need)


def _anchor(term: AnchorTermSettings, challenge: Challenge) -> TermResult:
    if challenge.is_anchor:
        return _unjudged(term, Outcome.NOT_APPLICABLE, "the champion is the anchor")
    if challenge.anchor is None or challenge.against_baseline:
        return _unjudged(term, Outcome.NOT_APPLICABLE, "there is no anchor")
    return _safe(term, challenge.anchor, term.margin)


def _ahead(term: AheadTermSettings, flips: Flips) -> TermResult:
    # No `need_rows`: how many labels turn a draw or a deficit into a lead, its numbers cannot say.
    outcome = Outcome.PASS if flips.wins > flips.losses else Outcome.UNDECIDED
    lead = flips.wins - flips.losses
    return _compared(term, outcome, flips, value=lead, threshold=1.0, detail=_seen(flips))


def _compared(
    term: TermSettings,
    outcome: Outcome,
    flips: Flips,
    *,
    value: float,
    threshold: float,
    detail: str,
    need_rows: int | None = None,
) -> TermResult:
    low, high = interval(flips)
    return TermResult(
        name=term.kind,
        outcome=outcome,
        guard=term.guard,
        value=value,
        low=low,
        high=high,
        threshold=threshold,
        rows=flips.rows,
        need_rows=need_rows,
        detail=detail,
    )


def _unjudged(term: TermSettings, outcome: Outcome, why: str) -> TermResult:
    return TermResult(name=term.kind, outcome=outcome, guard=term.guard, detail=why)


def _seen(flips: Flips) -> str:
    if not flips.rows:
        return "no held-out rows"
    if not flips.discordant:
        return f"identical predictions on {flips.rows} rows"
    return f"{flips.wins} wins, {flips.losses} losses in {flips.rows} rows"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
