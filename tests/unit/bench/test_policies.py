"""How runs are counted, what is claimed of them, and that the claims hold in a few seeded runs."""

import pytest

from bench.gate.claims import claims
from bench.gate.policies import POLICIES, Policy, Tally, estimate, play, summary
from bench.gate.world import SimulatedWorld, WorldSettings

BY_NAME = {policy.name: policy for policy in POLICIES}


def tally(final: float = 0.9, harmful: float = 0.0) -> Tally:
    return Tally(0.9, final, harmful, 10, 0, 0.0)


def judged(**runs: Tally) -> list[bool]:
    tallies = {policy.name: [tally(0.8, 50)] * 2 for policy in POLICIES}
    tallies |= {name: [run] * 2 for name, run in runs.items()}
    return [claim.holds for claim in claims({200: tallies})]


def test_a_run_counts_what_each_promotion_cost() -> None:
    settings = WorldSettings(windows=60)
    world = SimulatedWorld(settings, seed=2)
    counted = play(BY_NAME["a"], world, settings.windows)
    assert counted.promotions == 60
    assert 5 < counted.harmful < 30
    assert counted.worst < -0.01
    assert 0.7 < counted.final_accuracy < 0.92


def test_an_estimate_carries_its_standard_error() -> None:
    assert estimate([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1 / 3**0.5))
    assert estimate([4.0]) == (4.0, 0.0)


def test_the_worst_promotion_is_the_worst_of_all_runs() -> None:
    runs = [tally()._replace(worst=edge) for edge in (-0.01, -0.04)]
    assert summary(runs)["worst"].mean == -0.04


def test_every_claim_holds_when_ours_is_better() -> None:
    assert judged(e=tally(0.91, 0.1), b=tally(0.90, 10)) == [True, True, True]


def test_each_claim_can_fail() -> None:
    assert judged(e=tally(0.91, 1), b=tally(0.90, 10)) == [False, True, True]
    assert judged(e=tally(0.89, 0.1), b=tally(0.90, 10)) == [True, False, True]
    assert judged(e=tally(0.91, 0.1), b=tally(0.90, 10), d=tally(0.92, 0.0)) == [True, True, False]


def test_our_own_variants_are_not_peers() -> None:
    assert judged(e=tally(0.91, 0.1), b=tally(0.90, 10), e2=tally(0.92, 0.0)) == [True, True, True]


def test_the_gate_lets_in_less_harm_and_ends_higher_than_a_point_estimate() -> None:
    ours, rival = (_runs(BY_NAME[name]) for name in ("e", "b"))
    assert 20 * ours["harmful"].mean <= rival["harmful"].mean
    assert ours["final_accuracy"].mean > rival["final_accuracy"].mean


def _runs(policy: Policy) -> dict[str, tuple[float, float]]:
    settings = WorldSettings(fresh_rows=200)
    return summary([play(policy, SimulatedWorld(settings, seed), settings.windows) for seed in range(6)])
