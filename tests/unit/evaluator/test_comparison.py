"""The statistics of the gate against known values and against what they promise."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.comparison import (
    Flips,
    UnpairedError,
    count_flips,
    evidence,
    harm,
    interval,
    more_rows,
    rows_needed,
)

counts = st.integers(min_value=0, max_value=3_000)
flips_strategy = st.builds(Flips, counts, counts, counts)
edges = st.floats(min_value=-0.9, max_value=0.9)

# wins, losses, rows | evidence above 0, above -.01, harm beyond 0, beyond .02 | 95 % interval in points
KNOWN = [
    (25, 10, 500, 10.8144, 60.5777, 0.165379, 0.0891762, -0.774, 6.988),
    (10, 25, 500, 0.165379, 0.235654, 10.8144, 1.13490, -6.988, 0.774),
    (35, 20, 1000, 4.24071, 81.8206, 0.156159, 0.0482182, -0.796, 3.926),
    (130, 100, 2000, 3.43930, 70.0263, 0.0456615, 0.00619022, -0.842, 3.863),
    (0, 0, 500, 1.0, 3.29903, 1.0, 0.286719, -2.432, 2.432),
    (13, 0, 13, 23.8522, 25.5400, 0.205953, 0.205953, -7.149, 100.0),
    (3, 1, 40, 1.33161, 1.45266, 0.654736, 0.591749, -22.612, 30.808),
    (0, 12, 40, 0.223421, 0.228433, 17.6361, 12.9156, -54.446, 4.802),
]


@pytest.mark.parametrize(("wins", "losses", "rows", "ahead", "safe", "worse", "worse_2", "low", "high"), KNOWN)
def test_known_values(
    wins: int,
    losses: int,
    rows: int,
    ahead: float,
    safe: float,
    worse: float,
    worse_2: float,
    low: float,
    high: float,
) -> None:
    flips = Flips(wins, losses, rows - wins - losses)
    assert evidence(flips) == pytest.approx(ahead, rel=1e-5)
    assert evidence(flips, above=-0.01) == pytest.approx(safe, rel=1e-5)
    assert harm(flips) == pytest.approx(worse, rel=1e-5)
    assert harm(flips, beyond=0.02) == pytest.approx(worse_2, rel=1e-5)
    assert [100 * edge for edge in interval(flips)] == pytest.approx([low, high], abs=6e-4)


@pytest.mark.parametrize("rows", [1, 3, 6])
@pytest.mark.parametrize(("win", "loss"), [(0.06, 0.08), (0.2, 0.2), (0.3, 0.05), (0.0, 0.5)])
def test_a_fair_game_neither_wins_nor_loses_money_on_average(rows: int, win: float, loss: float) -> None:
    """With a true edge of exactly `above`, the mean of the evidence over all outcomes is 1."""
    chances = (win, loss, 1.0 - win - loss)
    mean = 0.0
    for outcome in itertools.product(range(3), repeat=rows):
        chance = math.prod(chances[kind] for kind in outcome)
        mean += chance * evidence(Flips(*(outcome.count(kind) for kind in range(3))), above=win - loss)
    assert mean == pytest.approx(1.0, abs=1e-12)


def test_equal_models_are_rarely_ever_called_better() -> None:
    """Looking after each of 40 batches, at most 1 stream in 20 of equally good models ever reaches 20."""
    steps = np.random.default_rng(7).multinomial(50, [0.05, 0.05, 0.9], size=(300, 40)).cumsum(axis=1)
    reached = sum(any(evidence(Flips(*map(int, step))) >= 20 for step in stream) for stream in steps)
    assert 0 < reached <= 15


def test_a_row_counts_for_the_one_who_alone_was_right() -> None:
    champion = np.array([True, True, False, False, True])
    challenger = np.array([True, False, True, False, False])
    assert count_flips(champion, challenger) == Flips(wins=1, losses=2, ties=2)


def test_no_rows_are_no_flips() -> None:
    assert count_flips(np.array([]), np.array([])) == Flips()
    assert (Flips().delta, Flips().discordance) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(4,), (3, 1)])
def test_answers_about_different_rows_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnpairedError):
        count_flips(np.ones(3, dtype=bool), np.ones(shape, dtype=bool))


def test_a_nan_is_not_right() -> None:
    with pytest.raises(TypeError, match="bool"):
        count_flips(np.array([1.0, np.nan]), np.array([True, True]))


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Flips(1, -1, 0)


@pytest.mark.parametrize("edge", [-1.0, 1.0, 2.0, math.nan])
def test_an_edge_outside_the_possible_is_refused(edge: float) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        evidence(Flips(1, 1, 1), above=edge)


@given(flips_strategy)
def test_the_interval_contains_the_estimate(flips: Flips) -> None:
    low, high = interval(flips)
    assert -1.0 <= low <= flips.delta <= high <= 1.0


@given(flips_strategy)
def test_a_higher_level_gives_a_wider_interval(flips: Flips) -> None:
    low, high = interval(flips, level=0.9)
    wider_low, wider_high = interval(flips, level=0.99)
    assert wider_low <= low
    assert wider_high >= high


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, math.nan])
def test_a_level_that_is_no_probability_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval(Flips(1, 1, 1), level=level)


def test_without_rows_everything_is_possible() -> None:
    assert interval(Flips()) == (-1.0, 1.0)
    assert evidence(Flips()) == harm(Flips()) == 1.0


@given(st.lists(flips_strategy, max_size=6), st.randoms())
def test_windows_merge_in_any_order(windows: list[Flips], order: random.Random) -> None:
    shuffled = list(windows)
    order.shuffle(shuffled)
    assert sum(shuffled, Flips()) == sum(windows, Flips())


@given(flips_strategy, edges)
def test_harm_is_evidence_for_the_other_side(flips: Flips, edge: float) -> None:
    assert harm(flips, beyond=edge) == evidence(flips.swapped, above=edge)


@given(flips_strategy, edges, edges)
def test_a_stronger_claim_has_no_more_evidence(flips: Flips, one: float, other: float) -> None:
    weaker, stronger = sorted((one, other))
    assert evidence(flips, above=stronger) <= evidence(flips, above=weaker) * (1 + 1e-9)


@given(flips_strategy)
def test_nothing_is_proven_against_the_estimate_itself(flips: Flips) -> None:
    if abs(flips.delta) < 1.0:
        assert evidence(flips, above=flips.delta) <= 1.0 + 1e-9


def test_a_million_wins_are_still_a_number() -> None:
    assert math.isfinite(evidence(Flips(wins=1_000_000)))
    assert harm(Flips(wins=1_000_000)) == 0.0


def test_rows_needed_for_known_edges() -> None:
    assert rows_needed(0.01, 0.1) == 3_000
    assert rows_needed(0.02, 0.1, margin=0.0) == 3_000
    assert rows_needed(0.02, 0.3, margin=0.0) == 9_000
    assert rows_needed(0.01, 0.1, power=0.5) == 1_625


def test_rows_needed_refuses_what_cannot_be_proven() -> None:
    with pytest.raises(ValueError, match="no number of rows"):
        rows_needed(-0.01, 0.1)
    with pytest.raises(ValueError, match="power"):
        rows_needed(0.01, 0.1, power=0.9)


def test_more_rows_known_value() -> None:
    assert more_rows(Flips(3, 1, 36)) == 3_690


def test_a_safe_challenger_needs_no_more_rows() -> None:
    assert evidence(Flips(25, 10, 465), above=-0.01) >= 20
    assert more_rows(Flips(25, 10, 465)) == 0


@given(flips_strategy, st.sampled_from([0.0, 0.01, 0.02]))
def test_an_unsafe_challenger_needs_at_least_one_more_row(flips: Flips, margin: float) -> None:
    safe = evidence(flips, above=-margin) >= 20
    assert (more_rows(flips, margin=margin) == 0) == safe


@pytest.mark.parametrize("seed", range(3))
def test_more_rows_is_about_an_even_chance(seed: int) -> None:
    """A challenger 1 point ahead and undecided on 500 rows is safe after that many more in 35 to 85 % of streams."""
    generator = np.random.default_rng(seed)
    chances = [0.055, 0.045, 0.9]
    starts = [Flips(*map(int, row)) for row in generator.multinomial(500, chances, size=400)]
    waiting = [flips for flips in starts if flips.delta > 0 and more_rows(flips) > 0]
    later = [flips + Flips(*map(int, generator.multinomial(more_rows(flips), chances))) for flips in waiting]
    safe = sum(more_rows(flips) == 0 for flips in later)
    assert 0.35 <= safe / len(waiting) <= 0.85
