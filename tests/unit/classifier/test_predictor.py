"""Scores name the most probable label and stay consistent between logits and probabilities."""

import numpy as np

from shared.classifier.predictor import Scores

LABELS = ("n", "p")
NONE = np.zeros(3, np.int32), np.zeros(3, np.bool_)


def test_large_logits_still_give_rows_that_sum_to_one() -> None:
    logits = np.array([[90.0, -90.0], [0.0, 0.0], [-3e4, 3e4]], np.float32)
    scores = Scores.from_logits(LABELS, logits, *NONE)
    np.testing.assert_allclose(scores.probabilities, np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), atol=1e-7)
    assert scores.probabilities.dtype == np.float32


def test_the_first_label_wins_a_tie() -> None:
    scores = Scores.from_probabilities(LABELS, np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert scores.predicted.tolist() == [0, 1]
    assert scores.predicted_labels == ["n", "p"]


def test_logits_made_from_probabilities_give_them_back() -> None:
    probabilities = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    logits = Scores.from_probabilities(LABELS, probabilities).logits
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(Scores.from_logits(LABELS, logits, *NONE).probabilities, probabilities, atol=1e-6)
