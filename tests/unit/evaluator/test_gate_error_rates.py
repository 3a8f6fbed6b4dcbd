"""The gate's promises hold by simulation: row by row, over every look of a challenger's life.

20 windows of 200 fresh held-out rows, looked at after each; discordance 10 %; with and without a pool to begin with.
"""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.comparison import STAKES, Flips, evidence, harm
from services.evaluator.gate import decide
from shared.events import Verdict
from tests.unit.evaluator.builders import CORE_POLICY, challenge

STREAMS, LOOKS, WINDOW, POOL = 2_000, 20, 200, 2_000
DISCORDANCE, MARGIN, ODDS, REJECT_ODDS = 0.1, 0.01, 20.0, 10.0

Counts = NDArray[np.int64]
"""(streams, looks, 3): wins, losses and ties up to each look."""


def lives(edge: float, first: int, seed: int = 11) -> Counts:
    """Challengers with a true edge, looked at on `first` rows and then after each window."""
    chances = [(DISCORDANCE + edge) / 2, (DISCORDANCE - edge) / 2, 1.0 - DISCORDANCE]
    rows = np.array([first, *[WINDOW] * (LOOKS - 1)])
    return np.random.default_rng(seed).multinomial(rows, chances, size=(STREAMS, LOOKS)).cumsum(axis=1)


def all_evidence(counts: Counts, above: float) -> NDArray[np.float64]:
    """(streams, looks): the evidence at each look, by the formula of its definition."""
    odds = np.stack([1.0 + STAKES * (1.0 - above) / (1.0 + above), 1.0 - STAKES, 1.0 - STAKES * above / (1.0 + above)])
    pots: NDArray[np.float64] = np.exp(counts @ np.log(odds))
    return pots.mean(axis=-1)


@cache
def settled(edge: float, first: int) -> tuple[Counts, NDArray[np.int64], NDArray[np.bool_]]:
    """The lives, the look at which each ends (LOOKS: it never does), and whether in a promotion."""
    counts = lives(edge, first)
    rejected = all_evidence(counts[..., [1, 0, 2]], 0.0) >= REJECT_ODDS
    safe = all_evidence(counts, -MARGIN) >= ODDS
    promoted = safe & (counts[..., 0] > counts[..., 1]) & ~rejected
    ends = rejected | promoted
    end = np.where(ends.any(axis=1), ends.argmax(axis=1), LOOKS)
    within = end < LOOKS
    return counts, end, within & promoted[np.arange(STREAMS), np.minimum(end, LOOKS - 1)]


@pytest.mark.parametrize("first", [WINDOW, POOL])
def test_few_challengers_that_are_a_point_worse_are_ever_promoted(first: int) -> None:
    """At most 1 in 20 over all looks is promised; fewer are, because they must also be ahead."""
    _, _, promoted = settled(-0.01, first)
    assert promoted.mean() <= 0.05
    assert promoted.mean() <= settled(0.0, first)[2].mean() / 2, "and far fewer than of those that are as good"


def test_hardly_a_challenger_that_is_three_points_worse_is_ever_promoted() -> None:
    assert settled(-0.03, WINDOW)[2].mean() <= 0.001
    assert (settled(-0.03, WINDOW)[1] < LOOKS).mean() >= 0.95, "most are rejected, and free the waiting room"


def test_nearly_all_challengers_that_are_three_points_better_are_promoted_at_once_or_within_ten_windows() -> None:
    _, end, promoted = settled(0.03, POOL)
    assert (promoted & (end == 0)).mean() >= 0.95
    _, end, promoted = settled(0.03, WINDOW)
    assert (promoted & (end < 10)).mean() >= 0.95


def test_equally_good_challengers_are_rarely_rejected_as_proven_worse() -> None:
    _, end, promoted = settled(0.0, POOL)
    assert ((end < LOOKS) & ~promoted).mean() <= 1.0 / REJECT_ODDS


def test_the_simulation_bets_as_the_gate_does() -> None:
    counts = lives(0.0, WINDOW)[:5, ::4].reshape(-1, 3)
    for above in (-MARGIN, 0.0):
        expected = [evidence(Flips(*map(int, row)), above=above) for row in counts]
        assert all_evidence(counts, above) == pytest.approx(expected)
    expected = [harm(Flips(*map(int, row))) for row in counts]
    assert all_evidence(counts[:, [1, 0, 2]], 0.0) == pytest.approx(expected)


@pytest.mark.parametrize("edge", [-0.03, -0.01, 0.0, 0.03])
def test_the_gate_itself_ends_each_life_at_the_same_look_in_the_same_way(edge: float) -> None:
    """The real decision, at the look that ended a life and the one before it."""
    counts, end, promoted = settled(edge, WINDOW)
    seen = set()
    for stream in range(12):
        last = min(int(end[stream]), LOOKS - 1)
        for look in {max(last - 1, 0), last}:
            ruling = decide(challenge(Flips(*map(int, counts[stream, look]))), CORE_POLICY)
            expected = Verdict.UNDECIDED
            if look == end[stream]:
                expected = Verdict.PROMOTE if promoted[stream] else Verdict.REJECT
            assert ruling.verdict is expected
            seen.add(expected)
    assert Verdict.UNDECIDED in seen
