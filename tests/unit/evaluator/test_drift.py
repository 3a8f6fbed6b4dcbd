"""Drift of a model's errors: seen when they rise, not when they fall, and not again at once."""

import numpy as np

from services.evaluator.drift import Drift, ErrorDrift

DELTA = 0.002


def errors(rate: float, rows: int, seed: int) -> list[bool]:
    return list(np.random.default_rng(seed).random(rows) < rate)


def looked_at(drift: ErrorDrift, wrong: list[bool], first: int = 0) -> list[Drift]:
    return [found for place, each in enumerate(wrong, first) if (found := drift.update(place, each))]


def test_a_rise_is_seen_where_it_happens_with_both_rates() -> None:
    (found,) = looked_at(ErrorDrift(DELTA, 5000), errors(0.1, 2000, 1) + errors(0.3, 1000, 2))
    assert 2000 < found.offset < 2600
    assert found.before < found.after


def test_a_fall_is_no_drift() -> None:
    assert looked_at(ErrorDrift(DELTA, 0), errors(0.4, 2000, 1) + errors(0.1, 2000, 2)) == []


def test_a_quiet_stream_shows_none() -> None:
    assert looked_at(ErrorDrift(DELTA, 0), errors(0.15, 10_000, 1)) == []


def test_after_a_drift_it_rests_and_starts_over_with_the_new_rate() -> None:
    drift = ErrorDrift(DELTA, 3000)
    (first,) = looked_at(drift, errors(0.1, 1000, 1) + errors(0.4, 1000, 2))
    resting = errors(0.9, first.offset + 3000 - 1999, 3)
    assert looked_at(drift, resting, first=2000) == []
    assert looked_at(drift, errors(0.4, 4000, 4), first=10_000) == []
    assert len(looked_at(drift, errors(0.8, 1000, 5), first=14_000)) == 1
