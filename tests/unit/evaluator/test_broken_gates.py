"""A gate that is broken in a small way is caught: the gate keeps one specification, and no broken one does."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.evaluator import gate, guards, terms, vetoes
from services.evaluator.challenge import REQUIRED_METRICS, Challenge, ProbeResult
from services.evaluator.comparison import Flips
from services.evaluator.gate import Ruling, Stage, decide
from services.evaluator.guards import BrierLosses, SliceVerdict
from shared.events import Outcome, TermResult, Verdict
from shared.gate_settings import GateSettings, SlicesTermSettings
from tests.unit.evaluator.builders import METRICS, challenge

Decide = Callable[[Challenge, GateSettings], Ruling]
PROMOTE, REJECT, UNDECIDED = Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED

BETTER, WORSE, UNCLEAR = Flips(60, 20, 1_920), Flips(20, 60, 1_920), Flips(20, 18, 460)
LEVEL_BUT_SAFE = Flips(30, 30, 5_940)
A_LITTLE_WORSE = Flips(45, 60, 895)
LOST, BLIND = Flips(1, 14, 105), Flips(0, 2, 18)
RISING = BrierLosses(np.full(400, 0.1), np.linspace(0.1, 0.2, 400))

POLICY = GateSettings()
REQUIRING = GateSettings(
    terms=tuple(SlicesTermSettings(required=("source:a",)) if term.kind == "slices" else term for term in POLICY.terms)
)

# What the gate must say: rule -> (what it is told, its verdict).
RULES: dict[str, tuple[Challenge, Verdict]] = {
    "better is promoted": (challenge(BETTER), PROMOTE),
    "better within the margin of doubt is promoted": (challenge(Flips(130, 100, 1_770)), PROMOTE),
    "proven worse is rejected": (challenge(WORSE), REJECT),
    "proven worse is rejected though a slice is not measured": (challenge(WORSE, slices=None), REJECT),
    "half of the evidence waits": (challenge(Flips(12, 5, 233)), UNDECIDED),
    "unclear waits": (challenge(UNCLEAR), UNDECIDED),
    "unclear waits, whatever a veto would say": (challenge(UNCLEAR, slices={"source:a": LOST}), UNDECIDED),
    "safe and level waits": (challenge(LEVEL_BUT_SAFE), UNDECIDED),
    "no rows wait": (challenge(Flips(), metrics={}), UNDECIDED),
    "the first must be better than the baseline": (challenge(Flips(130, 100, 1_770), against_baseline=True), UNDECIDED),
    "a slide away from the anchor waits": (challenge(BETTER, anchor=A_LITTLE_WORSE), UNDECIDED),
    "an anchor without rows waits": (challenge(BETTER, anchor=Flips()), UNDECIDED),
    "a lost slice is rejected": (challenge(BETTER, slices={"source:a": LOST}), REJECT),
    "a lost era is rejected": (challenge(BETTER, eras={"0-4": LOST}), REJECT),
    "a blind slice is no veto": (challenge(BETTER, slices={"source:b": Flips(0, 2, 18)}), PROMOTE),
    "many flips are rejected": (challenge(Flips(500, 250, 1_250)), REJECT),
    "lost probabilities are rejected": (challenge(BETTER, losses=RISING), REJECT),
    "worse than the baseline is rejected": (challenge(BETTER, baseline=WORSE), REJECT),
    "a model twice the size is rejected": (challenge(BETTER, size_ratio=2.0), REJECT),
    "a slow model is only reported": (challenge(BETTER, latency_ratio=2.0), PROMOTE),
    "an unknown size waits": (challenge(BETTER, size_ratio=None), UNDECIDED),
    "a size that is no number waits": (challenge(BETTER, size_ratio=math.nan), UNDECIDED),
    "slices that were not compared wait": (challenge(BETTER, slices=None), UNDECIDED),
    "probabilities that were not compared wait": (challenge(BETTER, losses=None), UNDECIDED),
    "a loss that is no number waits": (
        challenge(BETTER, losses=BrierLosses(np.array([0.1, math.nan]), np.array([0.1, 0.1]))),
        UNDECIDED,
    ),
    "a model that does not load is rejected": (challenge(BETTER, probe=ProbeResult(loaded=False)), REJECT),
    "a missing metric is rejected": (challenge(BETTER, metrics={**METRICS, "brier": None}), REJECT),
    "a metric that is no number is rejected": (challenge(BETTER, metrics={**METRICS, "accuracy": math.nan}), REJECT),
}
REQUIRED_RULES: dict[str, tuple[Challenge, Verdict]] = {
    "a required slice that is missing waits": (challenge(BETTER), UNDECIDED),
    "a required slice that is blind waits": (challenge(BETTER, slices={"source:a": BLIND}), UNDECIDED),
}


def broken_rules(decide: Decide) -> set[str]:
    """The rules that this gate breaks; empty if it obeys."""
    broken = {name for name, (told, verdict) in RULES.items() if decide(told, POLICY).verdict is not verdict}
    return broken | {
        name for name, (told, verdict) in REQUIRED_RULES.items() if decide(told, REQUIRING).verdict is not verdict
    }


def test_the_gate_obeys() -> None:
    assert broken_rules(decide) == set()


# Gates that are told something else than what was measured.


def compared_with_itself(told: Challenge) -> Challenge:
    return replace(told, flips=Flips(ties=told.flips.rows))


def missing_metric_as_zero(told: Challenge) -> Challenge:
    return replace(told, metrics={name: told.metrics.get(name) or 0.0 for name in REQUIRED_METRICS})


def nan_as_zero(told: Challenge) -> Challenge:
    def number(value: float | None) -> float | None:
        return 0.0 if value is not None and math.isnan(value) else value

    return replace(told, metrics={name: number(value) for name, value in told.metrics.items()})


def missing_size_as_equal(told: Challenge) -> Challenge:
    return replace(told, size_ratio=told.size_ratio or 1.0)


MISTOLD: dict[str, tuple[Callable[[Challenge], Challenge], str]] = {
    "sign swapped": (lambda told: replace(told, flips=told.flips.swapped), "proven worse is rejected"),
    "champion compared with itself": (compared_with_itself, "better is promoted"),
    "missing metric read as zero": (missing_metric_as_zero, "a missing metric is rejected"),
    "NaN read as zero": (nan_as_zero, "a metric that is no number is rejected"),
    "missing size read as equal": (missing_size_as_equal, "an unknown size waits"),
    "anchor forgotten": (lambda told: replace(told, anchor=None), "a slide away from the anchor waits"),
    "anchor compared instead": (lambda told: replace(told, anchor=told.flips), "a slide away from the anchor waits"),
    "baseline taken for a champion": (
        lambda told: replace(told, against_baseline=False),
        "the first must be better than the baseline",
    ),
    "slices not computed and called none": (
        lambda told: replace(told, slices=told.slices or {}),
        "slices that were not compared wait",
    ),
    "probe trusted": (
        lambda told: replace(told, probe=ProbeResult(True, 1, 1)),
        "a model that does not load is rejected",
    ),
}


@pytest.mark.parametrize("name", MISTOLD)
def test_a_gate_that_is_told_something_else_is_caught(name: str) -> None:
    mistell, rule = MISTOLD[name]
    assert rule in broken_rules(lambda told, policy: decide(mistell(told), policy))


# Gates whose arithmetic or rule is broken.


def settle_without_vetoes(judged: list[tuple[Stage, TermResult]]) -> tuple[Verdict, list[TermResult]]:
    return REAL_SETTLE([pair for pair in judged if pair[0] is not Stage.VETO])


def settle_undecided_as_pass(judged: list[tuple[Stage, TermResult]]) -> tuple[Verdict, list[TermResult]]:
    passing = {Outcome.UNDECIDED: Outcome.PASS}
    return REAL_SETTLE(
        [
            (stage, result.model_copy(update={"outcome": passing.get(result.outcome, result.outcome)}))
            for stage, result in judged
        ]
    )


def settle_vetoes_first(judged: list[tuple[Stage, TermResult]]) -> tuple[Verdict, list[TermResult]]:
    return REAL_SETTLE([(Stage.BROKEN if stage is Stage.VETO else stage, result) for stage, result in judged])


def settle_watches_too(judged: list[tuple[Stage, TermResult]]) -> tuple[Verdict, list[TermResult]]:
    return REAL_SETTLE([(stage, result.model_copy(update={"guard": True})) for stage, result in judged])


def nothing_vetoed(slices: Mapping[str, Flips], margin: float, alpha: float) -> SliceVerdict:
    return replace(REAL_SLICE_VETO(slices, margin, alpha), vetoed=())


def nothing_blind(slices: Mapping[str, Flips], margin: float, alpha: float) -> SliceVerdict:
    return replace(REAL_SLICE_VETO(slices, margin, alpha), blind=())


def blind_vetoed(slices: Mapping[str, Flips], margin: float, alpha: float) -> SliceVerdict:
    verdict = REAL_SLICE_VETO(slices, margin, alpha)
    return replace(verdict, vetoed=(*verdict.vetoed, *verdict.blind))


REAL_SETTLE, REAL_SLICE_VETO = gate.settle, guards.slice_veto
REAL_EVIDENCE, REAL_HARM = terms.evidence, terms.harm

BROKEN: dict[str, tuple[Any, str, Any, str]] = {
    "vetoes ignored": (gate, "settle", settle_without_vetoes, "a lost slice is rejected"),
    "undecided taken for a pass": (gate, "settle", settle_undecided_as_pass, "unclear waits"),
    "vetoes before reasons": (gate, "settle", settle_vetoes_first, "unclear waits, whatever a veto would say"),
    "watches made guards": (gate, "settle", settle_watches_too, "a slow model is only reported"),
    "margin ignored": (
        terms,
        "evidence",
        lambda flips, above=0.0: REAL_EVIDENCE(flips),
        "better within the margin of doubt is promoted",
    ),
    "margin on the wrong side": (
        terms,
        "evidence",
        lambda flips, above=0.0: REAL_EVIDENCE(flips, above=-above),
        "better within the margin of doubt is promoted",
    ),
    "margin far too wide": (
        terms,
        "evidence",
        lambda flips, above=0.0: REAL_EVIDENCE(flips, above=above - 0.2),
        "unclear waits",
    ),
    "evidence counted twice": (
        terms,
        "evidence",
        lambda flips, above=0.0: REAL_EVIDENCE(flips + flips, above),
        "half of the evidence waits",
    ),
    "harm not looked at": (terms, "harm", lambda flips, beyond=0.0: 0.0, "proven worse is rejected"),
    "harm of the wrong side": (
        terms,
        "harm",
        lambda flips, beyond=0.0: REAL_HARM(flips.swapped, beyond),
        "proven worse is rejected",
    ),
    "everything is a number": (terms, "_is_number", lambda value: True, "a metric that is no number is rejected"),
    "probabilities never vetoed": (
        vetoes,
        "brier_veto",
        lambda champion, challenger, margin, alpha: (0.5, False),
        "lost probabilities are rejected",
    ),
    "slices never vetoed": (vetoes, "slice_veto", nothing_vetoed, "a lost era is rejected"),
    "blind slices taken for seen": (vetoes, "slice_veto", nothing_blind, "a required slice that is blind waits"),
    "blind slices vetoed": (vetoes, "slice_veto", blind_vetoed, "a blind slice is no veto"),
    "flips never counted": (vetoes, "flip_veto", lambda flips, budget: (0.0, 1.0, False), "many flips are rejected"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_gate_whose_arithmetic_is_broken_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, mutant, rule = BROKEN[name]
    monkeypatch.setattr(module, function, mutant)
    assert rule in broken_rules(decide)
