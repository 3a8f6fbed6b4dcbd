"""What stops a promotion, term by term; what was not measured never passes."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from services.evaluator.comparison import Flips
from services.evaluator.guards import BrierLosses
from services.evaluator.vetoes import Veto, judge_veto
from shared.events import Outcome
from shared.gate_settings import (
    BrierTermSettings,
    ErasTermSettings,
    LatencyTermSettings,
    NegativeFlipsTermSettings,
    SizeTermSettings,
    SlicesTermSettings,
)
from tests.unit.evaluator.builders import challenge

BETTER = Flips(25, 10, 465)
FINE, LOST, BLIND = Flips(12, 13, 225), Flips(1, 14, 105), Flips(0, 1, 20)


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ({"a": FINE, "b": FINE}, Outcome.PASS),
        ({"a": FINE, "b": BLIND}, Outcome.PASS),
        ({"a": FINE, "b": LOST}, Outcome.FAIL),
        ({"b": BLIND}, Outcome.NOT_APPLICABLE),
        ({}, Outcome.NOT_APPLICABLE),
        (None, Outcome.UNDECIDED),
    ],
)
def test_slices_and_eras_are_judged_alike(parts: Mapping[str, Flips] | None, outcome: Outcome) -> None:
    slices = judge_veto(SlicesTermSettings(), challenge(BETTER, slices=parts))
    eras = judge_veto(ErasTermSettings(), challenge(BETTER, eras=parts))
    assert (slices.outcome, eras.outcome) == (outcome, outcome)


def test_a_lost_slice_is_named_with_its_counts_and_blind_ones_are_listed() -> None:
    result = judge_veto(SlicesTermSettings(), challenge(BETTER, slices={"a": FINE, "b": LOST, "c": BLIND}))
    assert "b (1 wins, 14 losses in 120 rows)" in result.detail
    assert "blind: c" in result.detail
    assert result.value == pytest.approx(0.00025940, abs=5e-9)
    assert result.threshold == pytest.approx(0.05 / 2)
    assert result.rows == 250 + 120 + 21


def test_an_era_may_lose_a_little_more_than_a_slice() -> None:
    lost = {"part": Flips(50, 100, 1_850)}
    assert judge_veto(SlicesTermSettings(), challenge(BETTER, slices=lost)).outcome is Outcome.FAIL
    assert judge_veto(ErasTermSettings(), challenge(BETTER, eras=lost)).outcome is Outcome.PASS


def test_a_required_slice_must_be_there_and_not_blind() -> None:
    term = SlicesTermSettings(required=("a", "b"))
    assert judge_veto(term, challenge(BETTER, slices={"a": FINE, "b": FINE})).outcome is Outcome.PASS
    for slices in ({"a": FINE}, {"a": FINE, "b": BLIND}, {}):
        result = judge_veto(term, challenge(BETTER, slices=slices))
        assert (result.outcome, "b" in result.detail) == (Outcome.UNDECIDED, True)
    assert judge_veto(term, challenge(BETTER, slices={"a": LOST})).outcome is Outcome.FAIL


LEANING = {"label:negative": Flips(20, 60, 520), "label:positive": Flips(120, 20, 460)}


def test_a_class_may_pay_for_another_while_it_stays_above_the_champions_worst() -> None:
    """A champion that leans to one class could be replaced by nothing else."""
    recalls = {"label:negative": 0.92, "label:positive": 0.65}
    result = judge_veto(SlicesTermSettings(), challenge(BETTER, slices=LEANING, recalls=recalls))
    assert result.outcome is Outcome.PASS
    assert "label:negative (20 wins, 60 losses in 600 rows), yet no class below the champion's worst" in result.detail
    strict = SlicesTermSettings(level_classes=False)
    assert judge_veto(strict, challenge(BETTER, slices=LEANING, recalls=recalls)).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    "recalls",
    [
        {"label:negative": 0.70, "label:positive": 0.65},  # falls to .633
        {"label:negative": 0.65, "label:positive": 0.92},  # was the worst itself
        {},
    ],
)
def test_a_class_that_falls_below_the_champions_worst_is_a_veto(recalls: dict[str, float]) -> None:
    result = judge_veto(SlicesTermSettings(), challenge(BETTER, slices=LEANING, recalls=recalls))
    assert result.outcome is Outcome.FAIL


def test_no_class_spares_another_kind_of_slice() -> None:
    slices, recalls = LEANING | {"source:shop": LOST}, {"label:negative": 0.92, "label:positive": 0.65}
    result = judge_veto(SlicesTermSettings(), challenge(BETTER, slices=slices, recalls=recalls))
    assert (result.outcome, "label" in result.detail) == (Outcome.FAIL, False)


def test_many_names_are_counted_not_listed() -> None:
    blind = {f"source:{place:02}": BLIND for place in range(9)}
    assert judge_veto(SlicesTermSettings(), challenge(BETTER, slices=blind)).detail.endswith("source:04 and 4 more")


def test_negative_flips_over_budget_are_a_veto() -> None:
    many = Flips(500, 250, 1_250)
    result = judge_veto(NegativeFlipsTermSettings(), challenge(many))
    assert (result.outcome, result.value, result.threshold) == (Outcome.FAIL, 0.125, 0.1)
    assert 0.1 < (result.low or 0) < 0.125 < (result.high or 0)
    assert judge_veto(NegativeFlipsTermSettings(budget=0.13), challenge(many)).outcome is Outcome.PASS
    assert judge_veto(NegativeFlipsTermSettings(), challenge(Flips())).outcome is Outcome.UNDECIDED


def brier(added: float, rows: int = 400) -> BrierLosses:
    noise = np.random.default_rng(1).uniform(0.0, 0.5, (2, rows))
    return BrierLosses(noise[0], noise[0] + 0.02 * (noise[1] - noise[1].mean()) + added)


@pytest.mark.parametrize(("added", "outcome"), [(-0.05, "pass"), (0.0, "pass"), (0.004, "pass"), (0.02, "fail")])
def test_brier_losses_may_rise_by_the_margin(added: float, outcome: str) -> None:
    result = judge_veto(BrierTermSettings(), challenge(BETTER, losses=brier(added)))
    assert (result.outcome, result.rows) == (outcome, 400)
    assert 0.0 <= (result.value or 0.0) <= 1.0


def test_brier_losses_that_are_missing_or_no_numbers_never_pass() -> None:
    broken = BrierLosses(np.array([0.1, math.nan]), np.array([0.1, 0.1]))
    for losses in (None, broken, brier(0.0, rows=1)):
        assert judge_veto(BrierTermSettings(), challenge(BETTER, losses=losses)).outcome is Outcome.UNDECIDED


def test_a_baseline_without_probabilities_cannot_be_asked_for_its_brier_loss() -> None:
    first = challenge(BETTER, losses=None, against_baseline=True)
    assert judge_veto(BrierTermSettings(), first).outcome is Outcome.NOT_APPLICABLE
    scored = challenge(BETTER, losses=brier(0.02), against_baseline=True)
    assert judge_veto(BrierTermSettings(), scored).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("ratio", "outcome"),
    [
        (0.5, "pass"),
        (1.5, "pass"),
        (1.51, "fail"),
        (None, "undecided"),
        (math.nan, "undecided"),
        (math.inf, "undecided"),
        (0.0, "undecided"),
        (-1.0, "undecided"),
    ],
)
def test_size_and_latency_are_ratios_with_a_limit(ratio: float | None, outcome: str) -> None:
    assert judge_veto(SizeTermSettings(), challenge(BETTER, size_ratio=ratio)).outcome == outcome
    assert judge_veto(LatencyTermSettings(), challenge(BETTER, latency_ratio=ratio)).outcome == outcome


@pytest.mark.parametrize(
    "term",
    [SlicesTermSettings(), ErasTermSettings(), NegativeFlipsTermSettings(), SizeTermSettings(), LatencyTermSettings()],
)
def test_nothing_is_held_against_the_first_model_for_the_baselines_sake(term: Veto) -> None:
    """A majority baseline is right on every row of one class: no model could ever follow it slice by slice."""
    first = challenge(Flips(900, 200, 900), slices={"a": LOST}, eras={"a": LOST}, size_ratio=9.0, against_baseline=True)
    assert judge_veto(term, first).outcome is Outcome.NOT_APPLICABLE
