"""The promotion gate: judges every term of the policy, and settles promote, reject or undecided.

Nothing is promoted unless every guard passes; whatever is missing, NaN or too little to tell never promotes.
Evidence is about rows on which no model was ever trained; see `comparison.py` for what it promises.
"""

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import assert_never

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from services.evaluator.challenge import REQUIRED_METRICS, Challenge, ProbeResult
from services.evaluator.comparison import Flips, evidence, harm, interval
from services.evaluator.guards import mid_p
from services.evaluator.terms import judge, margin_of
from shared.events import Outcome, TermResult, Verdict
from shared.gate_settings import (
    AheadTermSettings,
    AnchorTermSettings,
    AnswersTermSettings,
    BaselineTermSettings,
    BrierTermSettings,
    ErasTermSettings,
    GateSettings,
    LatencyTermSettings,
    MetricsTermSettings,
    NegativeFlipsTermSettings,
    ProvenWorseTermSettings,
    SafeTermSettings,
    ServingTermSettings,
    SizeTermSettings,
    SlicesTermSettings,
    TermSettings,
)

__all__ = ["REQUIRED_METRICS", "Challenge", "ProbeResult", "Ruling", "Stage", "decide", "settle", "stage_of"]


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

    Broken or unmeasured: reject. No rows: undecided. Proven worse: reject. Not safe (against champion and anchor) or
    not ahead: undecided, with the labels that are missing. A veto: reject, naming it. A veto that could not be judged,
    a required slice among them: undecided. Otherwise promote.
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
        case SafeTermSettings() | AnchorTermSettings() | AheadTermSettings():
            return Stage.REASON
        case (
            SlicesTermSettings()
            | ErasTermSettings()
            | NegativeFlipsTermSettings()
            | BrierTermSettings()
            | BaselineTermSettings()
            | SizeTermSettings()
            | LatencyTermSettings()
            | ServingTermSettings()
        ):
            return Stage.VETO
        case _:
            assert_never(term)


def _need_rows(results: Sequence[TermResult]) -> int | None:
    needs = [result.need_rows for result in results if result.guard and result.need_rows is not None]
    return max(needs, default=None)


def _numbers(challenge: Challenge, settings: GateSettings) -> dict[str, float]:
    """The counts and what follows from them; the margin is the strictest that was asked for."""
    flips = challenge.flips
    margin = min(margin_of(term, challenge) for term in settings.terms if isinstance(term, SafeTermSettings))
    low, high = interval(flips)
    return {
        **_counts("", flips),
        "rows": flips.rows,
        "delta": flips.delta,
        "delta_low": low,
        "delta_high": high,
        "discordance": flips.discordance,
        "margin": margin,
        "evidence_safe": evidence(flips, above=-margin),
        "evidence_ahead": evidence(flips),
        "harm": harm(flips),
        **_other_numbers(challenge),
    }


def _other_numbers(challenge: Challenge) -> dict[str, float]:
    """What the other terms were judged on; nothing for what was not measured."""
    numbers = {
        **_parts("slice", challenge.slices or {}),
        **{f"slice/{name}/champion": recall for name, recall in challenge.recalls.items()},
        **_parts("era", challenge.eras or {}),
        **(_counts("anchor/", challenge.anchor) if challenge.anchor else {}),
        **(_counts("baseline/", challenge.baseline) if challenge.baseline else {}),
    }
    if challenge.losses is not None and (added := challenge.losses.added).size > 1:
        numbers |= {"brier/rows": added.size, "brier/mean": float(added.mean()), "brier/sd": float(added.std(ddof=1))}
    if (serving := challenge.serving) is not None:
        numbers |= {"serving/compared": serving.compared, "serving/disagreements": serving.disagreements}
        numbers |= {"serving/latency_ratio": serving.latency_ratio} if serving.latency_ratio is not None else {}
    for name, ratio in (("size_ratio", challenge.size_ratio), ("latency_ratio", challenge.latency_ratio)):
        if ratio is not None:
            numbers[name] = ratio
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _parts(prefix: str, parts: Mapping[str, Flips]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, flips in parts.items():
        numbers |= {**_counts(f"{prefix}/{name}/", flips), f"{prefix}/{name}/p": mid_p(flips)}
    return numbers


def _counts(prefix: str, flips: Flips) -> dict[str, float]:
    return {f"{prefix}wins": flips.wins, f"{prefix}losses": flips.losses, f"{prefix}ties": flips.ties}
