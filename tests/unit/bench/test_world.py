"""The simulated stream has the properties that its settings promise."""

from dataclasses import replace

import numpy as np
import pytest

from bench.gate.world import SimulatedWorld, WorldSettings, draw_edges, inherit

CALM = WorldSettings(fresh_rows=20_000, pool_rows=40_000, slow_drift=0.0, edge_sd=0.0, disaster_share=0.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_one_candidate_in_four_is_harmful_and_one_in_forty_a_disaster() -> None:
    edges = draw_edges(WorldSettings(windows=100_000), rng())
    assert 200 * np.mean(edges < -0.005) == pytest.approx(52, abs=1)
    assert 200 * np.mean(edges < -0.03) == pytest.approx(5.1, abs=0.4)


@pytest.mark.parametrize("edge", [-0.05, 0.0, 0.02])
def test_a_child_differs_from_its_parent_as_much_as_asked_for(edge: float) -> None:
    parent = rng().random(200_000) < 0.85
    child = inherit(parent, 0.85, edge, 0.10, rng())
    assert np.mean(child != parent) == pytest.approx(0.10, abs=0.003)
    assert child.mean() - parent.mean() == pytest.approx(edge, abs=0.003)


def test_a_disaster_changes_more_answers_than_usual() -> None:
    parent = np.ones(100_000, dtype=np.bool_)
    assert np.mean(~inherit(parent, 1 - 1e-9, -0.2, 0.1, rng())) == pytest.approx(0.2, abs=0.005)


def test_every_model_is_as_accurate_as_the_truth_says() -> None:
    world = SimulatedWorld(replace(CALM, edge_mean=0.03), seed=1)
    world.advance()
    child = world.train(0)
    grandchild = world.train(child)
    world.keep({0, grandchild})
    world.advance()
    flips = world.flips(0, grandchild, pooled=False)
    assert flips.rows == CALM.fresh_rows
    assert flips.delta == pytest.approx(world.accuracy(grandchild) - world.accuracy(0), abs=0.01)
    assert 0.10 < flips.discordance < 0.20


def test_gains_shrink_to_nothing_at_the_ceiling_but_losses_do_not() -> None:
    world = SimulatedWorld(replace(CALM, edge_mean=0.02, start=0.90, ceiling=0.90 + 1e-12), seed=1)
    world.advance()
    assert world.accuracy(world.train(0)) == pytest.approx(world.accuracy(0) + 0.02)
    full = SimulatedWorld(replace(CALM, edge_mean=0.02, slow_drift=-0.04), seed=1)
    full.advance()
    full.advance()
    assert full.accuracy(full.train(0)) - full.accuracy(0) == pytest.approx(0.01)
    worse = SimulatedWorld(replace(CALM, edge_mean=-0.02, slow_drift=-0.04), seed=1)
    worse.advance()
    worse.advance()
    assert worse.accuracy(worse.train(0)) - worse.accuracy(0) == pytest.approx(-0.02)


def test_all_models_drift_slowly_and_once_at_a_stroke() -> None:
    settings = WorldSettings(sudden_at=2)
    world = SimulatedWorld(settings, seed=1)
    seen = []
    for _ in range(3):
        world.advance()
        seen.append(world.accuracy(0))
    assert np.diff(seen) == pytest.approx([-0.0001, -0.0501])


def test_rows_of_the_pool_are_answered_once() -> None:
    """What was counted on fresh rows is found again in the pool, so that re-using it is simulated honestly."""
    world = SimulatedWorld(WorldSettings(fresh_rows=500), seed=3)
    world.advance()
    child = world.train(0)
    world.keep({0, child})
    first = world.flips(0, child, pooled=True)
    world.advance()
    assert world.flips(0, child, pooled=True) == first + world.flips(0, child, pooled=False)


def test_the_pool_forgets_its_oldest_rows() -> None:
    world = SimulatedWorld(WorldSettings(fresh_rows=500), seed=3)
    for _ in range(6):
        world.advance()
    assert world.flips(0, 0, pooled=True).rows == 2_000


def test_siblings_stay_related_when_their_parent_is_forgotten() -> None:
    world = SimulatedWorld(CALM, seed=5)
    world.advance()
    parent = world.train(0)
    first, second = world.train(parent), world.train(parent)
    world.keep({first, second})
    world.advance()
    assert world.flips(first, second, pooled=False).discordance == pytest.approx(0.163, abs=0.01)


def test_worlds_of_one_seed_offer_the_same_candidates() -> None:
    edges = []
    for _ in range(2):
        world = SimulatedWorld(WorldSettings(), seed=11)
        world.advance()
        edges.append(world.accuracy(world.train(0)))
    assert edges[0] == edges[1]


def test_fresh_rows_must_divide_the_pool() -> None:
    with pytest.raises(ValueError, match="must divide the pool"):
        WorldSettings(fresh_rows=300)
