"""Judges one challenger by one veto: what stops a promotion although the whole is safe and ahead."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from services.evaluator.challenge import Challenge
from services.evaluator.comparison import Flips
from services.evaluator.guards import SliceVerdict, brier_veto, flip_veto, level_classes, slice_veto
from services.evaluator.serving import judge_serving
from shared.events import Outcome, TermResult
from shared.gate_settings import (
    BrierTermSettings,
    ErasTermSettings,
    LatencyTermSettings,
    NegativeFlipsTermSettings,
    ServingTermSettings,
    SizeTermSettings,
    SlicesTermSettings,
)

PartsTerm = SlicesTermSettings | ErasTermSettings
RatioTerm = SizeTermSettings | LatencyTermSettings
Veto = PartsTerm | RatioTerm | NegativeFlipsTermSettings | BrierTermSettings | ServingTermSettings

_NAMED = 5


def judge_veto(term: Veto, challenge: Challenge) -> TermResult:
    """One veto's result, with the numbers that it was judged on."""
    match term:
        case SlicesTermSettings():
            return _slices(term, challenge)
        case ErasTermSettings():
            return _eras(term, challenge)
        case NegativeFlipsTermSettings():
            return _negative_flips(term, challenge)
        case BrierTermSettings():
            return _brier(term, challenge)
        case SizeTermSettings():
            return _ratio(term, challenge.size_ratio, challenge.against_baseline)
        case LatencyTermSettings():
            return _ratio(term, challenge.latency_ratio, challenge.against_baseline)
        case ServingTermSettings():
            return judge_serving(term, challenge.serving, challenge.against_baseline)
        case _:
            assert_never(term)


def _slices(term: SlicesTermSettings, challenge: Challenge) -> TermResult:
    if challenge.against_baseline:
        return _against_baseline(term)
    if challenge.slices is None:
        return _unjudged(term, Outcome.UNDECIDED, "the slices were not compared")
    level = level_classes(challenge.slices, challenge.recalls) if term.level_classes else frozenset()
    return _Parts(term, challenge.slices, "slices", frozenset(term.required), level).result()


def _eras(term: ErasTermSettings, challenge: Challenge) -> TermResult:
    if challenge.against_baseline:
        return _against_baseline(term)
    if challenge.eras is None:
        return _unjudged(term, Outcome.UNDECIDED, "the eras were not compared")
    return _Parts(term, challenge.eras, "eras", frozenset()).result()


@dataclass(frozen=True)
class _Parts:
    """Parts of the rows, each judged by itself."""

    term: PartsTerm
    flips: Mapping[str, Flips]
    what: str
    required: frozenset[str]
    level: frozenset[str] = frozenset()

    def result(self) -> TermResult:
        verdict = slice_veto(self.flips, self.term.margin, self.term.alpha)
        outcome, detail = self._outcome(verdict)
        return TermResult(
            name=self.term.kind,
            outcome=outcome,
            guard=self.term.guard,
            value=min(verdict.p_values.values(), default=None),
            threshold=self.term.alpha / verdict.judged,
            rows=sum(flips.rows for flips in self.flips.values()),
            detail=f"{detail}; blind: {_listed(verdict.blind)}" if verdict.blind else detail,
        )

    def _outcome(self, verdict: SliceVerdict) -> tuple[Outcome, str]:
        seeing = self.flips.keys() - set(verdict.blind)
        missing = sorted(self.required - seeing)
        lost = f"more than {100 * self.term.margin:g} points worse"
        if vetoed := [name for name in verdict.vetoed if name not in self.level]:
            return Outcome.FAIL, f"proven {lost}: {_listed(tuple(map(self._said, vetoed)))}"
        if missing:
            return Outcome.UNDECIDED, f"required, and missing or with too few rows: {_listed(tuple(missing))}"
        if not seeing:
            return Outcome.NOT_APPLICABLE, f"none of {len(self.flips)} {self.what} has rows enough to be judged"
        drops = [verdict.visible[name] for name in seeing]
        seen = f"drops of {100 * min(drops):.0f} to {100 * max(drops):.0f} points would be seen 4 times in 5"
        if verdict.vetoed:
            level = f"{_listed(tuple(map(self._said, verdict.vetoed)))}, yet no class below the champion's worst"
            return Outcome.PASS, f"proven {lost}: {level}; {seen}"
        return Outcome.PASS, f"none of {len(seeing)} {self.what} proven {lost}; {seen}"

    def _said(self, name: str) -> str:
        flips = self.flips[name]
        return f"{name} ({flips.wins} wins, {flips.losses} losses in {flips.rows} rows)"


def _negative_flips(term: NegativeFlipsTermSettings, challenge: Challenge) -> TermResult:
    flips = challenge.flips
    if challenge.against_baseline:
        return _against_baseline(term)
    low, high, vetoed = flip_veto(flips, term.budget)
    outcome = Outcome.FAIL if vetoed else Outcome.PASS
    return TermResult(
        name=term.kind,
        outcome=outcome if flips.rows else Outcome.UNDECIDED,
        guard=term.guard,
        value=flips.losses / flips.rows if flips.rows else None,
        low=low,
        high=high,
        threshold=term.budget,
        rows=flips.rows,
        detail=f"{flips.losses} of {flips.rows} rows turned wrong: at least {low:.2%} of all, "
        f"{'over' if vetoed else 'not proven over'} the budget of {term.budget:.2%}",
    )


def _brier(term: BrierTermSettings, challenge: Challenge) -> TermResult:
    losses = challenge.losses
    if losses is None:
        if challenge.against_baseline:
            return _unjudged(term, Outcome.NOT_APPLICABLE, "the baseline gives no probabilities")
        return _unjudged(term, Outcome.UNDECIDED, "the Brier losses were not compared")
    p, vetoed = brier_veto(losses.champion, losses.challenger, term.margin, term.alpha)
    if math.isnan(p):
        why = f"{losses.added.size} Brier losses cannot be judged: fewer than two, or not all numbers"
        return _unjudged(term, Outcome.UNDECIDED, why)
    return TermResult(
        name=term.kind,
        outcome=Outcome.FAIL if vetoed else Outcome.PASS,
        guard=term.guard,
        value=p,
        threshold=term.alpha,
        rows=losses.added.size,
        detail=f"Brier loss changes by {losses.added.mean():+.4f}, {'' if vetoed else 'not '}proven to rise by more "
        f"than {term.margin:g} (p {p:.3g})",
    )


def _ratio(term: RatioTerm, ratio: float | None, against_baseline: bool) -> TermResult:
    if against_baseline:
        return _unjudged(term, Outcome.NOT_APPLICABLE, "a baseline has none to compare with")
    if ratio is None or not math.isfinite(ratio) or ratio <= 0.0:
        return _unjudged(term, Outcome.UNDECIDED, f"not measured: {ratio}")
    return TermResult(
        name=term.kind,
        outcome=Outcome.PASS if ratio <= term.max_ratio else Outcome.FAIL,
        guard=term.guard,
        value=ratio,
        threshold=term.max_ratio,
        detail=f"{ratio:.3g} times the champion's, {term.max_ratio:g} at most",
    )


def _against_baseline(term: Veto) -> TermResult:
    return _unjudged(term, Outcome.NOT_APPLICABLE, "nobody is used to the baseline")


def _unjudged(term: Veto, outcome: Outcome, why: str) -> TermResult:
    return TermResult(name=term.kind, outcome=outcome, guard=term.guard, detail=why)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
