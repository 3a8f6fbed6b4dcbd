"""The questions that a model must answer sanely before anybody relies on it."""

from collections.abc import Sequence

import numpy as np

from shared.classifier.predictor import Predictor, Scores
from shared.errors import DeviceLostError, ModelError

KNOWN_QUESTIONS: tuple[str, ...] = (
    "A wonderful film: funny, moving and beautifully acted.",
    "Dull, far too long, and a waste of good actors.",
    "It arrived on Tuesday.",
    "not bad at all :-) 10/10 👍",
    "",
    "long " * 2000,
)
_SUM_TOLERANCE = 1e-4
_REPEAT_TOLERANCE = 1e-5


def prove(classifier: Predictor, labels: Sequence[str]) -> Scores:
    """Asks the known questions and returns the answers if they are what a classifier of these labels can give.

    Raises: ModelError saying what was wrong: labels, shape, a number that is not finite, a row that does not sum to
    1, an answer that changes when asked again, or a crash.
    """
    if tuple(classifier.labels) != tuple(labels):
        raise ModelError(f"{classifier.name}: its labels are {list(classifier.labels)}, expected {list(labels)}")
    first, again = _ask(classifier, KNOWN_QUESTIONS), _ask(classifier, KNOWN_QUESTIONS[::-1])
    _check_probabilities(classifier.name, first.probabilities, (len(KNOWN_QUESTIONS), len(labels)))
    if not np.allclose(first.probabilities, again.probabilities[::-1], atol=_REPEAT_TOLERANCE):
        raise ModelError(f"{classifier.name}: answers the same question differently when asked again")
    return first


def _ask(classifier: Predictor, questions: Sequence[str]) -> Scores:
    try:
        return classifier.predict(questions)
    except DeviceLostError:
        raise
    except Exception as error:
        # A damaged model can fail anywhere inside torch; whatever it was, this model is not to be used.
        raise ModelError(f"{classifier.name}: fails when asked ({type(error).__name__}: {error})") from error


def _check_probabilities(name: str, probabilities: np.ndarray, shape: tuple[int, int]) -> None:
    if probabilities.shape != shape:
        raise ModelError(f"{name}: answered with shape {probabilities.shape}, expected {shape}")
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{name}: answered with a number that is not finite; its weights are damaged")
    if (probabilities < 0).any() or not np.allclose(probabilities.sum(axis=1), 1.0, atol=_SUM_TOLERANCE):
        raise ModelError(f"{name}: its probabilities are negative or do not sum to 1")
