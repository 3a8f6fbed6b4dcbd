"""The watch alarms when the model in service is worse than the one before it, soon, and rarely for nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.comparison import Flips
from services.evaluator.watch import Watch

# (only the previous model right, only the current one) of 50 rows -> mean pot
KNOWN = [((3, 2), 0.964577), ((5, 1), 3.383769), ((6, 1), 10.261768), ((7, 0), 61.144820), ((6, 2), 128.404505)]
batches = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 60)), max_size=8)


def test_known_pots() -> None:
    watch = Watch()
    for (previous, current), pot in KNOWN:
        watch = watch.update(previous, current, 50 - previous - current)
        assert watch.mean_pot == pytest.approx(pot, rel=1e-6)
    assert not watch.alarmed
    assert watch.rows == 250
    assert watch.update(6, 0, 44).alarmed


def test_fewer_rows_than_a_batch_wait() -> None:
    watch = Watch().update(3, 0, 20)
    assert (watch.mean_pot, watch.waiting, watch.rows) == (0.0, Flips(3, 0, 20), 23)
    assert watch.update(0, 2, 25) == Watch().update(3, 2, 45)


@given(batches)
def test_the_same_rows_in_the_same_order_rebuild_the_same_state(arrivals: list[tuple[int, int, int]]) -> None:
    def watched() -> Watch:
        watch = Watch()
        for arrival in arrivals:
            watch = watch.update(*arrival)
        return watch

    assert watched() == watched()
    assert watched().rows == sum(map(sum, arrivals))


def test_an_alarm_stays_however_well_it_goes_afterwards() -> None:
    watch = Watch().update(50, 0, 0).update(50, 0, 0)
    assert watch.alarmed
    for _ in range(30):
        watch = watch.update(0, 20, 30)
    assert watch.alarmed
    assert watch.mean_pot < watch.alarm


def test_a_model_that_is_better_or_the_same_raises_no_alarm() -> None:
    for counts in ((0, 5, 45), (0, 0, 50), (4, 4, 42)):
        watch = Watch()
        for _ in range(200):
            watch = watch.update(*counts)
        assert not watch.alarmed


def test_endless_harm_is_still_a_number() -> None:
    watch = Watch()
    for _ in range(200):
        watch = watch.update(50, 0, 0)
    assert math.isfinite(watch.mean_pot)
    assert all(map(math.isfinite, watch.log_money))


def alarms(previous: float, current: float, streams: int, batches: int, seed: int) -> list[int]:
    """Batch of the alarm in each of some streams; those without alarm are left out."""
    drawn = np.random.default_rng(seed).multinomial(
        50, [previous, current, 1.0 - previous - current], size=(streams, batches)
    )
    found = []
    for stream in drawn:
        watch = Watch()
        for place, counts in enumerate(stream.tolist(), start=1):
            watch = watch.update(*counts)
            if watch.alarmed:
                found.append(place)
                break
    return found


def test_false_alarms_are_rare_even_at_the_floor() -> None:
    """A full point worse for ever is allowed; on average 200 batches or more pass before an alarm."""
    assert len(alarms(0.055, 0.045, streams=100, batches=50, seed=5)) <= 0.25 * 100
    assert len(alarms(0.05, 0.05, streams=60, batches=200, seed=6)) <= 0.1 * 60


def test_a_loss_of_five_points_is_found_within_a_thousand_rows() -> None:
    found = alarms(0.10, 0.05, streams=100, batches=60, seed=7)
    assert len(found) == 100
    assert np.median(found) <= 20


def test_a_loss_of_ten_points_is_found_within_five_hundred_rows() -> None:
    found = alarms(0.14, 0.04, streams=100, batches=60, seed=8)
    assert len(found) == 100
    assert np.quantile(found, 0.9) <= 10
