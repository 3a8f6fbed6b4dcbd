"""How long a batch will take, learned from those before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.server.latency import LatencyModel


def learned(*batches: tuple[int, float]) -> LatencyModel:
    model = LatencyModel()
    for tokens, seconds in batches:
        model.observe(tokens, seconds)
    return model


def test_nothing_is_expected_before_the_first_batch() -> None:
    assert LatencyModel().seconds(1000, budget=100) == 0


@given(st.floats(0.0001, 0.1), st.floats(1e-6, 1e-3))
def test_it_finds_the_time_of_a_batch_and_of_a_token(per_batch: float, per_token: float) -> None:
    model = learned(*((tokens, per_batch + per_token * tokens) for tokens in (10, 1000, 200, 50, 700)))
    assert model.per_batch == pytest.approx(per_batch, rel=1e-3, abs=1e-6)
    assert model.per_token == pytest.approx(per_token, rel=1e-3)
    assert model.seconds(250, budget=100) == pytest.approx(3 * per_batch + 250 * per_token, rel=1e-3)


def test_batches_of_one_size_are_expected_to_take_as_long_again() -> None:
    assert learned((100, 0.5), (100, 0.7)).seconds(100, budget=100) == pytest.approx(0.6, rel=0.02)


def test_it_forgets_how_fast_the_model_before_was() -> None:
    model = learned(*[(tokens, 0.001 * tokens) for tokens in (10, 100) * 100])
    for tokens in (10, 100) * 200:
        model.observe(tokens, 0.01 * tokens)
    assert model.per_token == pytest.approx(0.01, rel=0.05)


@given(st.lists(st.tuples(st.integers(1, 2000), st.floats(0, 10)), min_size=1, max_size=30), st.integers(1, 5000))
def test_no_time_is_ever_negative(batches: list[tuple[int, float]], tokens: int) -> None:
    model = learned(*batches)
    assert model.per_batch >= 0
    assert model.per_token >= 0
    assert model.seconds(tokens, budget=500) >= 0
