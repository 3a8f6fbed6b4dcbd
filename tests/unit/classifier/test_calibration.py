"""A temperature is found by likelihood, lives in the weights, and comes out again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.classifier.calibration import HIGHEST, LOWEST, fit_temperature, fold_temperature, unfold_temperature
from shared.classifier.model import Classifier

LOGITS = [2, -1, 3, 0.5, -2.5, 1.5, -0.5, 4]
LABELS = [1, 0, 1, 0, 0, 1, 1, 0]
TEXTS = ["a good film", "bad", "it is a film"]


@pytest.fixture
def classifier(tiny_folder: Path) -> Classifier:
    return Classifier.load(tiny_folder)


def test_the_known_value() -> None:
    assert fit_temperature(LOGITS, LABELS) == pytest.approx(3.6756, abs=5e-5)


def test_one_log_odds_or_two_columns_are_the_same_question() -> None:
    columns = np.column_stack([np.zeros(8), LOGITS])
    assert fit_temperature(columns, LABELS) == pytest.approx(fit_temperature(LOGITS, LABELS))


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 5.0), st.integers(2, 5), st.integers(0, 100))
def test_the_temperature_that_made_the_labels_is_found(temperature: float, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2.0, size=(20_000, classes))
    # Adding Gumbel noise and taking the largest draws each label from softmax(logits).
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize(("labels", "expected"), [([1, 0], LOWEST), ([0, 1], HIGHEST)])
def test_rows_all_right_or_all_wrong_stay_within_bounds(labels: list[int], expected: float) -> None:
    assert fit_temperature([0.5, -0.5], labels) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("logits", "labels"), [([], []), ([1.0], [1, 0]), ([[1.0, 2.0]], [])])
def test_rows_without_labels_are_refused(logits: list[float], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="a label for each row"):
        fit_temperature(logits, labels)


def test_folding_divides_the_logits_and_is_recorded(classifier: Classifier, tmp_path: Path) -> None:
    before = classifier.predict(TEXTS).logits
    fold_temperature(classifier.model, 2.5)
    classifier.save(tmp_path / "folded")
    folded = Classifier.load(tmp_path / "folded")
    assert folded.temperature == 2.5
    np.testing.assert_allclose(folded.predict(TEXTS).logits, before / 2.5, atol=1e-6)


def test_unfolding_undoes_every_folding(classifier: Classifier) -> None:
    before = classifier.predict(TEXTS).logits
    fold_temperature(classifier.model, 2.5)
    fold_temperature(classifier.model, 0.5)
    assert classifier.temperature == 1.25
    unfold_temperature(classifier.model)
    assert classifier.temperature == 1.0
    np.testing.assert_allclose(classifier.predict(TEXTS).logits, before, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_temperature_is_refused(classifier: Classifier, temperature: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        fold_temperature(classifier.model, temperature)
    assert classifier.temperature == 1.0
