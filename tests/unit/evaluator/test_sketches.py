"""Sketches of embeddings tell whether the texts have shifted, and fit into few bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.evaluator.sketches import DIRECTIONS, mean_shift, sketch

WIDTH = 384


def embeddings(rows: int, seed: int, centre: float = 0.0) -> NDArray[np.float32]:
    """Around a point that lies `centre` standard deviations away from 0 in every direction."""
    return np.random.default_rng(seed).normal(centre, 1.0, (rows, WIDTH)).astype(np.float32)


def test_a_sketch_is_small_and_always_the_same() -> None:
    one, other = sketch(embeddings(5, seed=1)), sketch(embeddings(5, seed=1))
    assert one == other
    assert [len(row) for row in one] == [2 * DIRECTIONS] * 5


def test_two_samples_of_one_stream_lie_as_far_apart_as_chance_has_it() -> None:
    found = [mean_shift(sketch(embeddings(500, seed)), sketch(embeddings(500, seed + 100))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(1 / np.sqrt(1000), rel=0.2)


def test_the_further_the_centre_moves_the_larger_the_shift() -> None:
    reference = sketch(embeddings(300, seed=1))
    found = [mean_shift(reference, sketch(embeddings(300, seed=2, centre=centre))) for centre in (0.0, 0.2, 0.5, 5.0)]
    assert found == sorted(found)
    # Half a standard deviation: a sixteenth of the variance is between the sides, next to a whole one within.
    assert found[2] == pytest.approx(np.sqrt((0.25 / 4) / (1 + 0.25 / 4)), rel=0.25)
    assert found[3] > 0.9


@given(st.integers(1, 20), st.integers(1, 20), st.floats(-3, 3))
def test_a_shift_lies_between_0_and_1_and_has_no_direction(rows: int, others: int, centre: float) -> None:
    one, other = sketch(embeddings(rows, 1)), sketch(embeddings(others, 2, centre))
    assert 0.0 <= mean_shift(one, other) <= 1.0
    assert mean_shift(one, other) == pytest.approx(mean_shift(other, one))


def test_texts_that_all_look_alike_have_not_shifted() -> None:
    alike = sketch(np.ones((3, WIDTH), np.float32))
    assert mean_shift(alike, alike) == 0.0
