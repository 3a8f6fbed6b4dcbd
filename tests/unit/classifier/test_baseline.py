"""The baseline is what a user has without training: a lexicon, the majority, or somebody's model."""

from pathlib import Path

import numpy as np
import pytest

from shared.classifier.baseline import open_baseline
from shared.classifier.model import Classifier
from shared.classifier.probe import prove
from shared.errors import ConfigurationError, ModelError
from tests.models import answering, tiny_classifier

LABELS = ["negative", "positive"]
# The compound scores of vaderSentiment 3.3.2.
GREAT, AWFUL, FLAT = "This is great!", "This is awful, horrible and disgusting garbage.", "A film."


def test_vader_maps_its_compound_score_to_a_probability() -> None:
    vader = open_baseline("vader", LABELS)
    scores = vader.predict([GREAT, FLAT])
    assert scores.probabilities[:, 1] == pytest.approx([(0.6588 + 1) / 2, 0.5])
    assert scores.probabilities.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_vader_is_never_certain() -> None:
    scores = open_baseline("vader", LABELS).predict(["great wonderful love " * 30, AWFUL * 30])
    assert scores.probabilities[:, 1] == pytest.approx([0.99, 0.01])


def test_vader_follows_the_order_and_the_case_of_the_labels() -> None:
    scores = open_baseline("vader", ["Positive", "Negative"]).predict([GREAT, AWFUL])
    assert scores.predicted_labels == ["Positive", "Negative"]


@pytest.mark.parametrize("name", ["vader", "majority"])
def test_other_labels_get_the_majority_without_scores(name: str) -> None:
    baseline = open_baseline(name, ["low", "mid", "high"], counts={"mid": 7, "high": 9})
    assert not baseline.has_scores
    assert baseline.predict([GREAT, AWFUL]).predicted_labels == ["high", "high"]


def test_a_folders_columns_come_in_our_order(tmp_path: Path) -> None:
    folder = answering(tmp_path / "theirs", "POSITIVE", labels=("POSITIVE", "NEGATIVE"))
    baseline = open_baseline(str(folder), LABELS)
    assert baseline.has_scores
    assert baseline.predict([AWFUL]).predicted_labels == ["positive"]
    theirs, ours = Classifier.load(folder).predict([AWFUL]), baseline.predict([AWFUL])
    np.testing.assert_array_equal(ours.logits, theirs.logits[:, ::-1])
    np.testing.assert_array_equal(ours.tokens, theirs.tokens)


def test_a_model_of_other_labels_is_a_wrong_setting(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "theirs", labels=("sad", "glad"))
    with pytest.raises(ConfigurationError, match="sad"):
        open_baseline(str(folder), LABELS)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        open_baseline(str(tmp_path), LABELS)


def test_a_hub_model_needs_a_folder_to_keep_it_in() -> None:
    with pytest.raises(ConfigurationError, match="cache folder"):
        open_baseline("somebody/model", LABELS)


@pytest.mark.parametrize("name", ["vader", "majority"])
def test_every_baseline_passes_the_probe(name: str) -> None:
    assert len(prove(open_baseline(name, LABELS), LABELS)) > 0
