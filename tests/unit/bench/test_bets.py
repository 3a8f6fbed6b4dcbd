"""The quick bets are the gate's evidence, and the tests of peers are what textbooks say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.gate.bets import Bet, mcnemar
from services.evaluator.comparison import Flips, evidence, harm

COUNTS = st.builds(Flips, st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 20_000))
EDGES = st.floats(-0.2, 0.2)


@given(flips=COUNTS, edge=EDGES)
def test_a_bet_is_the_gates_evidence(flips: Flips, edge: float) -> None:
    assert Bet(edge)(flips) == pytest.approx(evidence(flips, above=edge), rel=1e-9)


@given(flips=COUNTS, edge=EDGES)
def test_a_bet_on_the_champion_is_the_gates_harm(flips: Flips, edge: float) -> None:
    assert Bet(edge).against(flips) == pytest.approx(harm(flips, beyond=edge), rel=1e-9)


@pytest.mark.parametrize(
    ("wins", "losses", "two_sided"), [(25, 10, 0.016674), (35, 20, 0.058064), (130, 100, 0.055614)]
)
def test_mcnemar_is_half_of_the_two_sided_test(wins: int, losses: int, two_sided: float) -> None:
    assert 2 * mcnemar(wins, losses) == pytest.approx(two_sided, abs=1e-6)


def test_mcnemar_says_nothing_without_discordant_rows() -> None:
    assert mcnemar(0, 0) == 1.0
