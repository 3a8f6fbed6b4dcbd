"""The promotion gate: judges every term of the policy, and settles promote, reject or undecided.

Nothing is promoted unless every guard passes; whatever is missing, NaN or too little to tell never promotes.
Evidence is about rows on which no model was ever trained; see `comparison.py` for what it promises.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import assert_never

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from services.evaluator.comparison import Flips, evidence, harm, interval, more_rows
from shared.events import Outcome, TermResult, Verdict
from shared.settings import (
    AheadTermSettings,
    AnswersTermSettings,
    GateSettings,
    MetricsTermSettings,
    ProvenWorseTermSettings,
    SafeTermSettings,
    TermSettings,
)

# Named here and not imported from `metrics.py`: its library takes seconds to load, and the gate is used without it.
REQUIRED_METRICS = ("accuracy", "macro_f1", "negative_log_likelihood", "brier", "expected_calibration_error")


class Stage(IntEnum):
    """When a term has its say: the first stage with a guard that does not pass settles the verdict."""

    BROKEN = 1
    """A challenger that cannot answer or be measured is rejected, whatever its numbers."""
    HARM = 2
    """A challenger that is proven worse is rejected, and waits for no more labels."""
    REASON = 3
    """What a promotion is for: unless it passes, the challenger waits."""
    VETO = 4
    """Looked at only when about to promote."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What happened when the challenger was loaded and asked known questions."""

    loaded: bool
    asked: int = 0
    answered: int = 0
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.loaded and self.answered == self.asked > 0


@dataclass(frozen=True, slots=True)
class Challenge:
    """All that the gate knows about one challenger.

    `flips` compare it with the champion, or with the generic baseline while there is none, on the pool and on fresh
    hold-out rows together; `metrics` are the challenger's own on those rows.
    """

    probe: ProbeResult
    flips: Flips = field(default_factory=Flips)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    against_baseline: bool = False


class Ruling(BaseModel):
    """What the gate says about one challenger, with everything needed to recompute it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    verdict: Verdict
    reasons: tuple[str, ...] = Field(min_length=1)
    need_rows: NonNegativeInt | None = Field(
        None, description="Undecided: labels that would settle it, an even chance."
    )
    terms: tuple[TermResult, ...]
    numbers: dict[str, float]


def decide(challenge: Challenge, settings: GateSettings) -> Ruling:
    """Judges every term, passed ones too, and settles the verdict by the first stage that does not pass.

    Broken or unmeasured: reject. No rows: undecided. Proven worse: reject. Not safe or not ahead: undecided, with the
    labels that are missing. A veto: reject. Otherwise promote.
    """
    judged = [(stage_of(term), judge(term, challenge)) for term in settings.terms]
    verdict, settling = settle(judged)
    results = tuple(result for _, result in judged)
    return Ruling(
        verdict=verdict,
        reasons=tuple(f"{result.name}: {result.detail}" for result in settling),
        need_rows=_need_rows(results) if verdict is Verdict.UNDECIDED else None,
        terms=results,
        numbers=_numbers(challenge, settings),
    )


def settle(judged: Sequence[tuple[Stage, TermResult]]) -> tuple[Verdict, list[TermResult]]:
    """The verdict and the results that it rests on: those that stand in the way, or those that a promotion is for.

    Within a stage a failure outweighs what is undecided. A term that is not applicable stands in nobody's way, but
    passes for nobody either: without one guard that passed, nothing is promoted.
    """
    guards = [(stage, result) for stage, result in judged if result.guard]
    obstacles = [pair for pair in guards if pair[1].outcome in (Outcome.FAIL, Outcome.UNDECIDED)]
    if not obstacles:
        passed = [(stage, result) for stage, result in guards if result.outcome is Outcome.PASS]
        speaking = [result for stage, result in passed if stage is Stage.REASON]
        return (Verdict.PROMOTE if passed else Verdict.UNDECIDED), speaking or [result for _, result in passed]
    first = min(stage for stage, _ in obstacles)
    settling = [result for stage, result in obstacles if stage is first]
    failed = [result for result in settling if result.outcome is Outcome.FAIL]
    return (Verdict.REJECT, failed) if failed else (Verdict.UNDECIDED, settling)


def stage_of(term: TermSettings) -> Stage:
    """When a kind of term has its say."""
    match term:
        case AnswersTermSettings() | MetricsTermSettings():
            return Stage.BROKEN
        case ProvenWorseTermSettings():
            return Stage.HARM
        case SafeTermSettings() | AheadTermSettings():
            return Stage.REASON
        case _:
            assert_never(term)


def judge(term: TermSettings, challenge: Challenge) -> TermResult:
    """One term's result, with the numbers that it was judged on."""
    match term:
        case AnswersTermSettings():
            return _answers(term, challenge.probe)
        case MetricsTermSettings():
            return _metrics_complete(term, challenge)
        case ProvenWorseTermSettings():
            return _proven_worse(term, challenge.flips)
        case SafeTermSettings():
            return _safe(term, challenge.flips, _margin(term, challenge))
        case AheadTermSettings():
            return _ahead(term, challenge.flips)
        case _:
            assert_never(term)


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


def _proven_worse(term: ProvenWorseTermSettings, flips: Flips) -> TermResult:
    found = harm(flips)
    outcome, relation = Outcome.PASS, "is below"
    if found >= term.odds:
        outcome, relation = Outcome.FAIL, "reaches"
    elif not flips.rows:
        outcome = Outcome.UNDECIDED
    detail = f"evidence {found:.4g} that it is worse {relation} {term.odds:g}; {_seen(flips)}"
    return _compared(term, outcome, flips, value=found, threshold=term.odds, detail=detail)


def _safe(term: SafeTermSettings, flips: Flips, margin: float) -> TermResult:
    found, need = evidence(flips, above=-margin), more_rows(flips, margin, term.odds)
    claim = f"evidence {found:.4g} that it is {f'at most {100 * margin:g} points worse' if margin else 'better'}"
    if found >= term.odds:
        detail = f"{claim} reaches {term.odds:g}; {_seen(flips)}"
        return _compared(term, Outcome.PASS, flips, value=found, threshold=term.odds, detail=detail)
    detail = f"{claim} is below {term.odds:g}: about an even chance within {need} more labels; {_seen(flips)}"
    return _compared(term, Outcome.UNDECIDED, flips, value=found, threshold=term.odds, detail=detail, need_rows=need)


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


def _seen(flips: Flips) -> str:
    if not flips.rows:
        return "no held-out rows"
    if not flips.discordant:
        return f"identical predictions on {flips.rows} rows"
    return f"{flips.wins} wins, {flips.losses} losses in {flips.rows} rows"


def _need_rows(results: Sequence[TermResult]) -> int | None:
    needs = [result.need_rows for result in results if result.guard and result.need_rows is not None]
    return max(needs, default=None)


def _margin(term: SafeTermSettings, challenge: Challenge) -> float:
    # A baseline is nothing that users got used to: the first model must be better, not merely no worse.
    return 0.0 if challenge.against_baseline else term.margin


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _numbers(challenge: Challenge, settings: GateSettings) -> dict[str, float]:
    """The counts and what follows from them; the margin is the strictest that was asked for."""
    flips = challenge.flips
    margin = min(_margin(term, challenge) for term in settings.terms if isinstance(term, SafeTermSettings))
    low, high = interval(flips)
    return {
        "wins": flips.wins,
        "losses": flips.losses,
        "ties": flips.ties,
        "rows": flips.rows,
        "delta": flips.delta,
        "delta_low": low,
        "delta_high": high,
        "discordance": flips.discordance,
        "margin": margin,
        "evidence_safe": evidence(flips, above=-margin),
        "evidence_ahead": evidence(flips),
        "harm": harm(flips),
    }
