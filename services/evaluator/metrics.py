"""Metrics of a model's quality, as `evaluate.Metric` classes of our own: no hub script, no network, nothing on disk.

`evaluate` takes seconds to load, because it loads transformers: import this module only where models are scored.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import Features, List, Value
from numpy.typing import ArrayLike, NDArray

# Far below what a model can know, far above what would make one row decide the mean of thousands by being infinite.
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)

# Softmax in 16 bits adds up to 1 within about this.
_SUM_TOLERANCE = 0.01

CALIBRATION_BINS = 10

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class LocalMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric that is its own module and keeps its rows in memory: no cache file that could be stale or shared."""

    key: str
    """The metric's name in results, decisions and the registry."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(keep_in_memory=True, **settings)

    def _build_data_dir(self) -> str:
        # The library would make an empty folder in the user's cache; in memory it is never used.
        return str(self._data_dir_root)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__, citation="", inputs_description=self._inputs, features=self._row()
        )

    _inputs: str

    @abstractmethod
    def _row(self) -> Features:
        """The types of one row's prediction and reference."""


class LabelMetric(LocalMetric):
    """A metric on chosen labels."""

    _inputs = "predictions, references: label ids, shape (n,), n >= 1."

    def _row(self) -> Features:
        return Features({"predictions": Value("int64"), "references": Value("int64")})

    def _compute(self, *, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        predicted, labels = check_labels(predictions, references)
        return {self.key: self._measure(predicted, labels)}

    @abstractmethod
    def _measure(self, predicted: IntArray, labels: IntArray) -> float:
        """The metric of at least one checked row."""


class ScoreMetric(LocalMetric):
    """A metric on the probabilities of all labels."""

    _inputs = "predictions: probabilities, shape (n, k), rows add up to 1. references: label ids, shape (n,), n >= 1."

    def _row(self) -> Features:
        return Features({"predictions": List(Value("float64")), "references": Value("int64")})

    def _compute(self, *, predictions: Sequence[Sequence[float]], references: Sequence[int]) -> dict[str, float]:
        probabilities, labels = check_scores(predictions, references)
        return {self.key: self._measure(probabilities, labels)}

    @abstractmethod
    def _measure(self, probabilities: FloatArray, labels: IntArray) -> float:
        """The metric of at least one checked row."""


class Accuracy(LabelMetric):
    """Share of rows whose label was chosen, 0 to 1; higher is better."""

    key = "accuracy"

    def _measure(self, predicted: IntArray, labels: IntArray) -> float:
        return float(np.mean(predicted == labels))


class MacroF1(LabelMetric):
    """Mean of F1 over the labels that occur among predictions or references, 0 to 1; higher is better."""

    key = "macro_f1"

    def _measure(self, predicted: IntArray, labels: IntArray) -> float:
        return float(np.mean([_f1(predicted == label, labels == label) for label in np.union1d(predicted, labels)]))


class NegativeLogLikelihood(ScoreMetric):
    """Mean of -ln(probability of the true label), in nats; lower is better, ln k is what ignorance scores.

    A probability of 0 counts as 2.2e-16, so that one row costs 36 nats and not infinity.
    """

    key = "negative_log_likelihood"

    def _measure(self, probabilities: FloatArray, labels: IntArray) -> float:
        of_truth = probabilities[np.arange(len(labels)), labels]
        return float(-np.mean(np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0))))


class Brier(ScoreMetric):
    """Half the squared distance between probabilities and truth, mean over rows, 0 to 1; lower is better.

    Halved, so that with two labels it is the usual squared error of one label's probability.
    """

    key = "brier"

    def _measure(self, probabilities: FloatArray, labels: IntArray) -> float:
        truth = np.eye(probabilities.shape[1])[labels]
        return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)) / 2.0)


class ExpectedCalibrationError(ScoreMetric):
    """Distance between confidence and accuracy over 10 equal-width bins of confidence, weighted by rows; 0 is best.

    Biased upwards on few rows: .06 for a perfectly calibrated model on 100, .013 on 2,000. To report, not to gate on.
    Source: Guo et al., "On calibration of modern neural networks", ICML 2017.
    """

    key = "expected_calibration_error"

    def _measure(self, probabilities: FloatArray, labels: IntArray) -> float:
        confidence = probabilities.max(axis=1)
        surplus = confidence - (probabilities.argmax(axis=1) == labels)
        bins = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1).astype(np.int64)
        return float(np.abs(np.bincount(bins, weights=surplus)).sum() / len(labels))


LABEL_METRICS: tuple[type[LabelMetric], ...] = (Accuracy, MacroF1)
SCORE_METRICS: tuple[type[ScoreMetric], ...] = (NegativeLogLikelihood, Brier, ExpectedCalibrationError)


def score_all(probabilities: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Every metric by its key, all finite.

    Args: probabilities, shape (n, k), n >= 1, k >= 2, rows add up to 1; label ids, shape (n,). The chosen label is the
    most probable one, the first of equals.
    Raises: ValueError on empty or mis-shaped input, NaN, or numbers that are no probabilities or no label ids.
    """
    scores, truth = check_scores(probabilities, labels)
    measured = {}
    for metric in SCORE_METRICS:
        measured.update(metric().compute(predictions=scores, references=truth))
    return score_labels(scores.argmax(axis=1), truth) | measured


def score_labels(predicted: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """The metrics of a model that chooses labels and gives no scores, by key, all finite.

    Args: label ids, shape (n,), n >= 1. Raises: ValueError on empty or mis-shaped input, or what is no label id.
    """
    chosen, truth = check_labels(predicted, labels)
    measured = {}
    for metric in LABEL_METRICS:
        measured.update(metric().compute(predictions=chosen, references=truth))
    return measured


def check_scores(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Probabilities (n, k) and labels (n,) as arrays that every metric on scores is defined for, or a ValueError."""
    try:
        scores, truth = np.asarray(probabilities, dtype=np.float64), _label_ids("labels", labels)
    except (TypeError, ValueError) as error:
        raise ValueError(f"probabilities and labels must be tables of numbers: {error}") from error
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"probabilities have shape {scores.shape}: needed are (rows, labels), at least 2 labels")
    _check_rows(len(scores), truth)
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).any(axis=1).sum())} rows of probabilities hold NaN or infinity")
    if scores.min() < 0.0 or np.abs(scores.sum(axis=1) - 1.0).max() > _SUM_TOLERANCE:
        raise ValueError("probabilities must be at least 0 and add up to 1 in each row: are they logits?")
    if truth.max() >= scores.shape[1]:
        raise ValueError(f"label id {truth.max()} has no column: there are {scores.shape[1]} labels")
    return scores, truth


def check_labels(predicted: ArrayLike, labels: ArrayLike) -> tuple[IntArray, IntArray]:
    """Predicted and true labels, both (n,), as arrays that every metric on labels is defined for, or a ValueError."""
    chosen, truth = _label_ids("predictions", predicted), _label_ids("labels", labels)
    _check_rows(len(chosen), truth)
    return chosen, truth


def _label_ids(name: str, values: ArrayLike) -> IntArray:
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise ValueError(f"{name} have shape {ids.shape}: needed is one label id a row")
    if ids.size and (not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0):
        raise ValueError(f"{name} must be label ids, integers from 0, not {ids.dtype}")
    return ids.astype(np.int64)


def _check_rows(rows: int, truth: IntArray) -> None:
    if rows != len(truth):
        raise ValueError(f"{rows} predictions but {len(truth)} labels: score and label the same rows")
    if not rows:
        raise ValueError("no rows: nothing can be measured on none")


def _f1(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float(2.0 * np.sum(predicted & true) / (np.sum(predicted) + np.sum(true)))
