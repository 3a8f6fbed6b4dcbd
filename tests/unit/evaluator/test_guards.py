"""What stops a promotion: slices, flips and probabilities, against known values and against what they promise."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar

from services.evaluator.comparison import Flips, UnpairedError
from services.evaluator.guards import (
    BrierLosses,
    brier_losses,
    brier_veto,
    flip_veto,
    lowest_p,
    mid_p,
    slice_veto,
    tarone,
    visible_drop,
)
from services.evaluator.metrics import score_all

MARGIN, ALPHA = 0.02, 0.05
KNOWN = {
    "first": Flips(8, 7, 135),
    "second": Flips(3, 5, 52),
    "third": Flips(0, 9, 31),
    "fourth": Flips(),
    "fifth": Flips(1, 14, 105),
}
counts = st.integers(0, 40)
slices_strategy = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.builds(Flips, counts, counts, counts))


def test_known_slices() -> None:
    verdict = slice_veto(KNOWN, MARGIN, ALPHA)
    expected = [0.59819031, 0.25390625, 0.00097656, 0.5, 0.00025940]
    assert list(verdict.p_values.values()) == pytest.approx(expected, abs=5e-9)
    assert verdict.judged == 4
    assert set(verdict.vetoed) == {"third", "fifth"}
    assert verdict.vetoed[0] == "fifth", "the surest first"
    assert verdict.blind == ("fourth",)


@pytest.mark.parametrize(
    ("discordant", "k"), [((1, 1, 1), 1), ((3, 4, 5), 2), ((4, 5, 6, 7), 3), ((2, 2, 2, 30), 1), ((), 1)]
)
def test_known_numbers_of_slices_that_can_be_judged(discordant: tuple[int, ...], k: int) -> None:
    assert tarone(discordant, ALPHA) == k


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (10, 25, 0.005665),
        (25, 10, 0.994335),
        (20, 35, 0.022023),
        (100, 130, 0.024082),
        (0, 0, 0.5),
        (0, 13, 0.000061),
        (1, 3, 0.1875),
        (12, 0, 0.999878),
    ],
)
def test_known_mid_p_values(wins: int, losses: int, p: float) -> None:
    assert mid_p(Flips(wins, losses)) == pytest.approx(p, abs=5e-7)


@pytest.mark.parametrize(
    ("wins", "losses", "exact"),
    [(25, 10, 0.016674), (35, 20, 0.058064), (130, 100, 0.055614), (13, 0, 0.000244), (3, 1, 0.625), (0, 12, 0.000488)],
)
def test_mid_p_is_mcnemars_exact_test_less_half_of_what_was_seen(wins: int, losses: int, exact: float) -> None:
    """Against statsmodels' implementation, which knows the exact two-sided test alone."""
    reference = mcnemar([[0, losses], [wins, 0]], exact=True).pvalue
    assert reference == pytest.approx(exact, abs=5e-7)
    fewer, more = sorted((wins, losses))
    one_sided = mid_p(Flips(fewer, more)) + 0.5 * binom.pmf(more, wins + losses, 0.5)
    assert 2.0 * one_sided == pytest.approx(reference)


@given(counts, counts)
def test_mid_p_of_one_side_is_what_the_other_side_leaves(wins: int, losses: int) -> None:
    assert mid_p(Flips(wins, losses)) + mid_p(Flips(losses, wins)) == pytest.approx(1.0)
    assert mid_p(Flips(0, losses)) == pytest.approx(lowest_p(losses))


@given(slices_strategy, st.randoms())
def test_the_order_of_the_slices_changes_nothing(slices: dict[str, Flips], order: random.Random) -> None:
    names = list(slices)
    order.shuffle(names)
    assert slice_veto({name: slices[name] for name in names}, MARGIN, ALPHA) == slice_veto(slices, MARGIN, ALPHA)


@given(slices_strategy)
def test_slices_that_cannot_be_judged_cost_the_others_nothing(slices: dict[str, Flips]) -> None:
    verdict = slice_veto(slices, MARGIN, ALPHA)
    with_empty = slice_veto({**slices, "x": Flips(), "y": Flips(ties=500)}, MARGIN, ALPHA)
    assert (with_empty.judged, with_empty.vetoed) == (verdict.judged, verdict.vetoed)
    assert set(with_empty.blind) == {*verdict.blind, "x", "y"}
    assert not set(verdict.vetoed) & set(verdict.blind)


def test_a_slice_that_loses_no_more_than_the_margin_is_not_vetoed_however_sure() -> None:
    sure_but_small = {"all": Flips(100, 200, 9_700)}
    assert slice_veto(sure_but_small, 0.02, ALPHA).vetoed == ()
    assert slice_veto(sure_but_small, 0.005, ALPHA).vetoed == ("all",)


def test_equal_models_are_rarely_vetoed_by_any_of_fifty_slices() -> None:
    """At most alpha over all slices together, in exact arithmetic: each slice's chance to reach the level, added up."""
    discordant = [4] * 50
    level = ALPHA / tarone(discordant, ALPHA)
    reaching = sum(binom.pmf(losses, 4, 0.5) for losses in range(5) if mid_p(Flips(4 - losses, losses)) <= level)
    assert 50 * reaching <= ALPHA
    generator = np.random.default_rng(3)
    vetoed = 0
    for _ in range(200):
        losses = generator.binomial(12, 0.5, size=10)
        slices = {str(place): Flips(12 - int(lost), int(lost), 100) for place, lost in enumerate(losses)}
        vetoed += bool(slice_veto(slices, MARGIN, ALPHA).vetoed)
    assert vetoed <= 20


@pytest.mark.parametrize(("rows", "drop"), [(20, 0.49), (50, 0.24), (100, 0.14), (200, 0.08), (500, 0.05)])
def test_the_smallest_visible_drop_is_about_what_was_simulated(rows: int, drop: float) -> None:
    assert visible_drop(rows) == pytest.approx(drop, rel=0.06)


def test_a_slice_without_rows_sees_nothing() -> None:
    assert visible_drop(0) == visible_drop(1) == 1.0


@pytest.mark.parametrize(
    ("losses", "rows", "low", "high"),
    [
        (10, 500, 0.010890, 0.033688),
        (25, 500, 0.034998, 0.069136),
        (20, 1000, 0.013293, 0.028930),
        (100, 2000, 0.042228, 0.058770),
        (0, 500, 0.0, 0.005974),
        (0, 13, 0.0, 0.205817),
        (1, 40, 0.001282, 0.113188),
        (12, 40, 0.183121, 0.440280),
    ],
)
def test_known_bounds_of_negative_flips(losses: int, rows: int, low: float, high: float) -> None:
    found = flip_veto(Flips(0, losses, rows - losses), 0.05)
    assert found[:2] == pytest.approx((low, high), abs=5e-7)
    assert found[2] is (low > 0.05)


def test_negative_flips_over_budget_are_vetoed_only_when_proven() -> None:
    assert not flip_veto(Flips(200, 30, 270), 0.05)[2], "6 % of 500 rows may be luck"
    assert flip_veto(Flips(800, 130, 1_070), 0.05)[2], "6.5 % of 2,000 rows are not"
    assert flip_veto(Flips(), 0.05) == (0.0, 1.0, False)


def test_a_rows_brier_loss_is_the_squared_error_of_one_labels_probability() -> None:
    """Their mean is the metric that goes by the same name."""
    probabilities = np.array([[0.8, 0.2], [0.7, 0.3], [0.0, 1.0]])
    losses = brier_losses(probabilities, np.array([0, 1, 1]))
    assert losses == pytest.approx([0.04, 0.49, 0.0])
    assert losses.mean() == pytest.approx(score_all(probabilities, [0, 1, 1])["brier"])


def test_the_brier_loss_of_a_sure_mistake_is_one_however_many_labels() -> None:
    assert brier_losses(np.eye(4)[[0, 1]], np.array([0, 3])) == pytest.approx([0.0, 1.0])


CHAMPION = np.array([0.04, 0.09, 0.01, 0.25, 0.36, 0.16, 0.04, 0.49])
CHALLENGER = np.array([0.09, 0.16, 0.01, 0.36, 0.49, 0.16, 0.09, 0.64])


def test_known_brier_losses() -> None:
    p, vetoed = brier_veto(CHAMPION, CHALLENGER, 0.005)
    assert (p, vetoed) == (pytest.approx(0.006888, abs=5e-7), True)
    assert brier_veto(CHALLENGER, CHAMPION, 0.005) == (pytest.approx(1.0, abs=0.01), False)


@given(st.permutations(range(8)))
def test_the_order_of_rows_changes_no_brier_verdict(order: list[int]) -> None:
    assert brier_veto(CHAMPION[order], CHALLENGER[order], 0.005)[0] == pytest.approx(0.006888, abs=5e-7)


def test_losses_that_change_alike_on_every_row_need_no_test() -> None:
    flat = np.full(4, 0.25)
    assert brier_veto(flat, flat, 0.005) == (1.0, False)
    assert brier_veto(flat, flat + 0.5, 0.005) == (0.0, True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_gives_no_p_value(bad: float) -> None:
    broken = CHALLENGER.copy()
    broken[3] = bad
    p, vetoed = brier_veto(CHAMPION, broken, 0.005)
    assert math.isnan(p)
    assert not vetoed
    assert math.isnan(brier_veto(CHAMPION[:1], CHALLENGER[:1], 0.005)[0])


def test_losses_of_different_rows_are_refused() -> None:
    with pytest.raises(UnpairedError):
        brier_veto(CHAMPION, CHALLENGER[:-1], 0.005)
    with pytest.raises(UnpairedError):
        BrierLosses(np.zeros((2, 2)), np.zeros((2, 2)))
