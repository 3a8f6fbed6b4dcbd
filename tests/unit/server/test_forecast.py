"""When texts will have been answered, with more than one model."""

from hypothesis import given
from hypothesis import strategies as st

from services.server.forecast import Forecast
from tests.unit.server.fakes import slot

BUDGET = 100


def test_a_model_that_was_never_asked_is_thought_as_fast_as_the_others() -> None:
    forecast, known, new = Forecast(BUDGET), slot("1"), slot("2")
    assert forecast.computing(new, 10) == 0.0
    forecast.observe(known, 10, 2.0)
    assert forecast.computing(new, 10) == forecast.computing(known, 10) == 2.0
    forecast.observe(new, 10, 0.5)
    assert (forecast.computing(known, 10), forecast.computing(new, 10)) == (2.0, 0.5)


@given(st.lists(st.integers(1, 50), max_size=10), st.lists(st.integers(1, 50), max_size=10), st.integers(1, 50))
def test_what_waits_adds_up_by_model_and_is_forgotten_when_it_is_gone(
    quick: list[int], slow: list[int], own: int
) -> None:
    forecast, first, second = Forecast(10**6), slot("1"), slot("2")
    first.latency.observe(100, 1.0)
    second.latency.observe(100, 50.0)
    for model, sizes in ((first, quick), (second, slow)):
        for tokens in sizes:
            forecast.waits(model, tokens)
    expected = 0.01 * (sum(quick) + own) + 0.5 * sum(slow)
    assert abs(forecast.answered(first, own) - expected) < 1e-6
    for model, sizes in ((first, quick), (second, slow)):
        for tokens in sizes:
            forecast.waits(model, -tokens)
    assert forecast.all_done() == 0.0
    assert not forecast._waiting


def test_what_is_under_way_goes_first_and_a_wrong_guess_is_never_below_nothing() -> None:
    forecast, model = Forecast(BUDGET), slot("1")
    model.latency.observe(10, 1.0)
    with forecast.busy(100.0):
        assert forecast.is_busy
        assert forecast.answered(model, 10) + forecast.busy_seconds() >= 101.0
    with forecast.busy(0.0):
        assert forecast.under_way() == 0.0
    assert not forecast.is_busy
    assert forecast.busy_seconds() == 0.0
