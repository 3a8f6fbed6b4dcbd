"""A model that answers nonsense is refused, and the error says which nonsense."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.classifier.calibration import head_of
from shared.classifier.model import Classifier
from shared.classifier.predictor import Scores
from shared.classifier.probe import KNOWN_QUESTIONS, prove
from shared.errors import DeviceLostError, ModelError

LABELS = ("negative", "positive")


class Answering:
    """Gives whatever probabilities a function of the number of texts and of the call makes."""

    name, labels, has_scores = "fake", LABELS, True

    def __init__(self, answer: Callable[[int, int], np.ndarray]) -> None:
        self._answer, self._calls = answer, 0

    def predict(self, texts: Sequence[str]) -> Scores:
        self._calls += 1
        return Scores.from_probabilities(self.labels, self._answer(len(texts), self._calls))


def test_a_model_is_not_blamed_for_a_lost_gpu() -> None:
    def lose(texts: int, call: int) -> np.ndarray:
        raise DeviceLostError("the GPU computes nothing more")

    with pytest.raises(DeviceLostError):
        prove(Answering(lose), LABELS)


def test_a_sound_model_is_proven(tiny: Classifier) -> None:
    assert prove(tiny, LABELS).probabilities.shape == (len(KNOWN_QUESTIONS), 2)


@pytest.mark.parametrize("expected", [("positive", "negative"), ("negative",), ("a", "b")])
def test_other_labels_are_refused(tiny: Classifier, expected: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="labels"):
        prove(tiny, expected)


def test_weights_that_are_not_numbers_are_refused(tiny_folder: Path) -> None:
    damaged = Classifier.load(tiny_folder)
    with torch.no_grad():
        head_of(damaged.model).weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        prove(damaged, LABELS)


def test_a_model_in_training_mode_is_refused(tiny_folder: Path) -> None:
    noisy = Classifier.load(tiny_folder)
    with torch.no_grad():
        head_of(noisy.model).weight.mul_(100)
    noisy.model.train()
    with pytest.raises(ModelError, match="differently"):
        prove(noisy, LABELS)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (lambda rows, call: np.full((rows, 3), 1 / 3), "shape"),
        (lambda rows, call: np.full((rows - 1, 2), 0.5), "shape"),
        (lambda rows, call: np.full((rows, 2), 0.6), "sum to 1"),
        (lambda rows, call: np.tile([-0.5, 1.5], (rows, 1)), "negative"),
        (lambda rows, call: np.tile([0.5 + call / 10, 0.5 - call / 10], (rows, 1)), "differently"),
        (lambda rows, call: np.full((rows, 2), 1 / (call - 1)), "fails when asked"),
    ],
)
def test_nonsense_is_refused_by_its_name(answer: Callable[[int, int], np.ndarray], wrong: str) -> None:
    with pytest.raises(ModelError, match=wrong):
        prove(Answering(answer), LABELS)
