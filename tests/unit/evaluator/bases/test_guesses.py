"""Fewer nats a guess are claimed only where they are there: over reviews, each as long as it is."""

import math

import numpy as np
import pytest

from services.evaluator.bases.guesses import Guesses, more_reviews, nats_a_guess, perplexity, saving
from services.evaluator.comparison import UnpairedError
from tests.unit.evaluator.bases.builders import guesses

ALPHA = 0.05
WORLDS = ("independent", "review by review", "few gain much", "the longer the better")


def equal_bases(world: str, rows: int, chance: np.random.Generator) -> Guesses:
    """Two bases that need the same nats a guess on average, however unlike single reviews are."""
    counts = np.maximum(1, np.round(0.15 * chance.lognormal(3.0, 0.9, rows))).astype(np.int64)
    each: np.ndarray = np.zeros(rows)
    match world:
        case "review by review":
            each = chance.normal(0.0, 0.3, rows)
        case "few gain much":
            each = chance.exponential(0.4, rows) - 0.4
        case "the longer the better":
            # 0.2861: the mean over guesses, by 10 million reviews.
            each = 0.15 * np.log(counts) - 0.2861
    noise = np.add.reduceat(0.5 * chance.standard_t(3, counts.sum()), np.append(0, counts.cumsum()[:-1]))
    before = 3.0 * counts
    return Guesses(before, before - counts * each - noise, counts)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("rows", [10, 50])
def test_equal_bases_are_told_apart_no_more_often_than_alpha_says(world: str, rows: int) -> None:
    """Of 1,500 pairs, at most 5 % pass; twice the standard error of that share is 1.1 %."""
    chance = np.random.default_rng(rows)
    found = [saving(equal_bases(world, rows, chance), ALPHA) for _ in range(1_500)]
    passed = np.mean([each is not None and each.p_fewer < ALPHA for each in found])
    assert passed <= ALPHA + 0.011


def test_a_saving_is_found_where_reviews_differ_in_length() -> None:
    found = saving(guesses(0.2), ALPHA)
    assert found is not None
    assert found.p_fewer < ALPHA < found.p_more
    assert found.low is not None
    assert found.high is not None
    assert 0.0 < found.low < 0.2 < found.high


def test_what_costs_more_is_found_as_surely() -> None:
    found = saving(guesses(-0.2), ALPHA)
    assert found is not None
    assert found.p_more < ALPHA < found.p_fewer
    assert found.high is not None
    assert found.high < 0.0


@pytest.mark.parametrize("saved", [-0.3, -0.05, 0.0, 0.02, 0.05, 0.3])
@pytest.mark.parametrize("rows", [3, 12, 200])
def test_the_interval_leaves_zero_out_exactly_where_a_test_decides(saved: float, rows: int) -> None:
    for seed in range(20):
        found = saving(guesses(saved, rows, seed=seed), ALPHA)
        assert found is not None
        if found.low is not None and found.high is not None:
            assert (found.low > 0.0) == (found.p_fewer < ALPHA)
            assert (found.high < 0.0) == (found.p_more < ALPHA)


def test_the_interval_covers_the_truth_nine_times_in_ten() -> None:
    ends = [saving(guesses(0.1, 60, seed=seed), ALPHA) for seed in range(500)]
    covered = np.mean([each is not None and (each.low or 1.0) < 0.1 < (each.high or 0.0) for each in ends])
    assert 0.86 < covered < 0.94


def test_a_long_review_weighs_as_much_as_its_guesses() -> None:
    counts = np.array([1, 1, 98])
    found = Guesses(np.array([3.0, 3.0, 294.0]), np.array([2.0, 2.0, 304.0]), counts)
    saved = saving(found, ALPHA)
    assert saved is not None
    assert saved.nats == pytest.approx((1 + 1 - 10) / 100)
    assert nats_a_guess(found.before, counts) == pytest.approx(3.0)


def test_reviews_without_a_guess_say_nothing() -> None:
    found = guesses(0.2, 50)
    silent = np.zeros(30)
    padded = Guesses(
        np.append(found.before, silent), np.append(found.after, silent), np.append(found.counts, silent.astype(int))
    )
    assert (padded.rows, padded.total) == (50, found.total)
    assert saving(padded, ALPHA) == saving(found, ALPHA)


@pytest.mark.parametrize(("rows", "decided"), [(0, False), (1, False), (2, True)])
def test_fewer_than_two_reviews_say_nothing(rows: int, decided: bool) -> None:
    assert (saving(guesses(5.0, rows), ALPHA) is not None) == decided


def test_what_is_no_number_says_nothing() -> None:
    found = guesses(0.2)
    found.after[7] = math.nan
    assert saving(found, ALPHA) is None


@pytest.mark.parametrize(("shift", "p_fewer"), [(0.0, 0.5), (1.0, 0.0), (-1.0, 1.0)])
def test_a_difference_without_any_spread_is_sure(shift: float, p_fewer: float) -> None:
    counts = np.full(20, 4)
    found = saving(Guesses(np.full(20, 12.0), np.full(20, 12.0 - shift), counts), ALPHA)
    assert found is not None
    assert (found.nats, found.p_fewer) == (shift / 4, p_fewer)


def test_two_lists_of_reviews_are_refused() -> None:
    with pytest.raises(UnpairedError, match="one list of reviews"):
        Guesses(np.zeros(3), np.zeros(4), np.ones(3, np.int64))


def test_so_many_more_reviews_would_prove_it_about_every_other_time() -> None:
    seen = guesses(0.04, 60, seed=3)
    first = saving(seen, ALPHA)
    assert first is not None
    assert first.p_fewer > ALPHA
    more = more_reviews(seen, first, ALPHA)
    assert more is not None
    # If what was seen is the truth: the same spread, centred on it.
    saved = seen.before - seen.after
    chance, proven = np.random.default_rng(0), 0
    for _ in range(300):
        rows = chance.integers(0, 60, 60 + more)
        again = saving(Guesses(saved[rows], np.zeros(len(rows)), seen.counts[rows]), ALPHA)
        proven += again is not None and again.p_fewer < ALPHA
    assert 0.4 < proven / 300 < 0.6


def test_nothing_is_missing_where_it_is_proven_and_nothing_helps_where_nothing_was_saved() -> None:
    for saved, missing in ((0.5, 0), (-0.5, None)):
        seen = guesses(saved)
        found = saving(seen, ALPHA)
        assert found is not None
        assert more_reviews(seen, found, ALPHA) == missing


def test_perplexity_is_a_number_however_bad_a_base_is() -> None:
    assert perplexity(math.log(50.0)) == pytest.approx(50.0)
    assert math.isfinite(perplexity(5_000.0))
