"""What a policy comes to, in figures."""

import pytest

from services.control.backtest.result import EraResult, Grid, PolicyResult, Promotion, backward_transfer, summarise

GRID = Grid(
    models=("baseline", "one", "two"),
    windows=("w0", "w1", "w2", "w3"),
    accuracy=((0.6, 0.5, None, 0.5), (0.8, 0.7, None, 0.6), (0.7, 0.9, None, 0.9)),
    serving=(0, 1, 1, 2),
)


def era(place: int, right: int, seconds: float = 0.0, **more: object) -> EraResult:
    fields = {"window_id": f"w{place}", "rows": 100, "right": right, "held_out": 20, "verdict": "promote"}
    return EraResult(**(fields | {"training_seconds": seconds} | more))  # type: ignore[arg-type]


def promotion(delta: float | None) -> Promotion:
    return Promotion(window_id="w0", model="one", instead_of="baseline", delta=delta, rows=0 if delta is None else 50)


def test_forgetting_compares_the_last_model_with_the_one_that_was_there() -> None:
    # w0: .7 - .6; w1: .9 - .7; w2 has no hold-out; w3 is the last.
    assert backward_transfer(GRID) == pytest.approx((0.1 + 0.2) / 2)


def test_one_window_has_nothing_to_forget() -> None:
    assert backward_transfer(Grid(models=("m",), windows=("w",), accuracy=((0.5,),), serving=(0,))) is None


def test_the_summary_counts_what_happened() -> None:
    result = PolicyResult(
        policy="p",
        eras=(era(0, 50), era(1, 60, 2.0), era(2, 70, 3.0, from_cache=True, quarantined=True), era(3, 90)),
        promotions=(promotion(0.03), promotion(-0.005), promotion(-0.02), promotion(None)),
        grid=GRID,
    )
    found = summarise(result)
    assert (found.accuracy, found.last_accuracy) == (0.675, 0.9)
    assert (found.promotions, found.harmful, found.unjudged, found.worst_promotion) == (4, 1, 1, -0.02)
    assert (found.trained, found.from_cache, found.training_seconds, found.quarantined) == (2, 1, 5.0, 1)
