"""Metrics of quality against scikit-learn's, and what they refuse to measure."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss

from services.evaluator.gate import REQUIRED_METRICS
from services.evaluator.metrics import (
    LABEL_METRICS,
    SCORE_METRICS,
    Accuracy,
    Brier,
    ExpectedCalibrationError,
    FloatArray,
    IntArray,
    NegativeLogLikelihood,
    score_all,
    score_labels,
)


def sample(rows: int, labels: int, seed: int = 3) -> tuple[FloatArray, IntArray]:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(labels), size=rows)
    return probabilities, np.concatenate([np.arange(labels), random.integers(0, labels, rows - labels)])


@pytest.mark.parametrize("labels", [2, 3, 5])
@pytest.mark.parametrize("rows", [7, 500])
def test_agrees_with_scikit_learn(rows: int, labels: int) -> None:
    probabilities, truth = sample(rows, labels)
    chosen = probabilities.argmax(axis=1)
    measured = score_all(probabilities, truth)
    assert measured["accuracy"] == pytest.approx(accuracy_score(truth, chosen))
    assert measured["macro_f1"] == pytest.approx(f1_score(truth, chosen, average="macro"))
    assert measured["negative_log_likelihood"] == pytest.approx(log_loss(truth, probabilities))
    expected = brier_score_loss(truth, probabilities, labels=list(range(labels)), scale_by_half=True)
    assert measured["brier"] == pytest.approx(expected)


def test_brier_of_two_labels_is_the_squared_error_of_one() -> None:
    assert Brier().compute(predictions=[[0.2, 0.8], [0.7, 0.3]], references=[1, 1]) == {
        "brier": pytest.approx((0.2**2 + 0.7**2) / 2)
    }


def test_calibration_error_bin_by_bin() -> None:
    """Two rows at .95, one right; three at .65, all right: 2/5 * .45 + 3/5 * .35."""
    probabilities = [[0.95, 0.05]] * 2 + [[0.35, 0.65]] * 3
    measured = ExpectedCalibrationError().compute(predictions=probabilities, references=[0, 1, 1, 1, 1])
    assert measured["expected_calibration_error"] == pytest.approx(0.39)


def test_calibration_bins_hold_their_upper_edge() -> None:
    """.8 and .75 share a bin (.7, .8]: one right of two at a mean of .775 is off by .275; apart it would be .475."""
    measured = ExpectedCalibrationError().compute(predictions=[[0.8, 0.2], [0.75, 0.25]], references=[0, 1])
    assert measured["expected_calibration_error"] == pytest.approx(0.275)


def test_a_calibrated_model_has_a_small_calibration_error() -> None:
    random = np.random.default_rng(5)
    positive = random.uniform(0.0, 1.0, 20_000)
    truth = (random.uniform(size=20_000) < positive).astype(np.int64)
    assert score_all(np.column_stack([1 - positive, positive]), truth)["expected_calibration_error"] < 0.02


def test_a_certain_error_costs_much_but_not_everything() -> None:
    measured = NegativeLogLikelihood().compute(predictions=[[1.0, 0.0]], references=[1])
    assert 36 < measured["negative_log_likelihood"] < 37


def test_one_label_only_is_measured_too() -> None:
    measured = score_all([[0.9, 0.1], [0.6, 0.4]], [0, 0])
    assert (measured["accuracy"], measured["macro_f1"]) == (1.0, 1.0)


def test_a_model_without_scores_has_the_metrics_of_its_labels() -> None:
    assert score_labels([0, 0, 0, 0], [0, 1, 0, 1]) == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}


def test_all_that_the_gate_requires_is_measured() -> None:
    assert tuple(metric.key for metric in (*LABEL_METRICS, *SCORE_METRICS)) == REQUIRED_METRICS
    assert tuple(score_all([[0.4, 0.6]], [1])) == REQUIRED_METRICS


@pytest.mark.parametrize(
    ("probabilities", "labels", "said"),
    [
        ([], [], "shape"),
        (np.empty((0, 2)), np.empty(0, dtype=int), "no rows"),
        ([[0.5, 0.5]], [0, 1], "same rows"),
        ([0.5, 0.5], [0, 1], "shape"),
        ([[1.0], [1.0]], [0, 0], "at least 2 labels"),
        ([[0.5, 0.5], [1.0]], [0, 0], "tables of numbers"),
        ([[math.nan, 0.5]], [0], "NaN"),
        ([[math.inf, 0.0]], [0], "infinity"),
        ([[2.5, -1.5]], [0], "logits"),
        ([[0.9, 0.9]], [0], "logits"),
        ([[0.5, 0.5]], [2], "no column"),
        ([[0.5, 0.5]], [-1], "label ids"),
        ([[0.5, 0.5]], [0.5], "label ids"),
        ([[0.5, 0.5]], [math.nan], "label ids"),
        ([[0.5, 0.5]], [[0]], "one label id a row"),
    ],
)
def test_what_cannot_be_measured_is_refused(probabilities: object, labels: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score_all(probabilities, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("predicted", "labels"), [([], []), ([0, 1], [0]), ([math.nan], [0]), ([0.5], [0]), ([-1], [0])]
)
def test_what_is_no_label_is_refused(predicted: list[float], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="no rows|same rows|label ids"):
        score_labels(predicted, labels)


@pytest.mark.parametrize("metric", [Brier, NegativeLogLikelihood, ExpectedCalibrationError])
def test_a_metric_class_alone_refuses_nan_and_nothing(metric: type[Brier]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        metric().compute(predictions=[[math.nan, 0.5]], references=[0])
    with pytest.raises(ValueError, match="shape"):
        metric().compute(predictions=[], references=[])


def test_rows_can_be_added_in_batches() -> None:
    metric = Accuracy()
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add_batch(predictions=[1, 1], references=[1, 1])
    assert metric.compute() == {"accuracy": 0.75}
    assert metric.compute(predictions=[0], references=[1]) == {"accuracy": 0.0}, "nothing is left from before"


def test_asks_no_network_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a metric asked the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    for metric in SCORE_METRICS:
        assert metric(cache_dir=str(tmp_path)).compute(predictions=[[0.4, 0.6]], references=[1])
    assert list(tmp_path.iterdir()) == []
