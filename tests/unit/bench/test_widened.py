"""A model twice as wide says what the narrow one says."""

from pathlib import Path

import numpy as np

from bench.serve.widened import save_widened
from shared.classifier.model import Classifier
from tests.models import tiny_classifier

TEXTS = ["a good film", "dull", "it was fine, " * 20]


def test_a_widened_model_gives_the_same_answers(tmp_path: Path) -> None:
    narrow = Classifier.load(tiny_classifier(tmp_path / "narrow"))
    save_widened(tmp_path / "narrow", tmp_path / "wide")
    wide = Classifier.load(tmp_path / "wide")
    assert wide.model.config.dim == 2 * narrow.model.config.dim
    assert wide.labels == narrow.labels
    np.testing.assert_allclose(wide.predict(TEXTS).logits, narrow.predict(TEXTS).logits, atol=1e-5)


def test_no_feature_is_read_by_half(tmp_path: Path) -> None:
    """Weights shared half and half would be the same number twice, which no trained model has."""
    save_widened(tiny_classifier(tmp_path / "narrow"), tmp_path / "wide")
    weight = Classifier.load(tmp_path / "wide").model.distilbert.transformer.layer[0].ffn.lin1.weight  # type: ignore[union-attr]
    first, second = weight.chunk(2, dim=1)
    assert (first != second).all()
