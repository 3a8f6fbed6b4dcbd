"""A classifier that only answers: laid out once for speed, not to be trained, changed or saved."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.classifier.inference import TOKEN_BUDGET, Body, PaddedModel, by_batch, predict
from shared.classifier.model import Classifier
from shared.classifier.packed import packed
from shared.classifier.precision import PrecisionSetting, precision_of
from shared.classifier.predictor import Scores


class AnsweringClassifier:
    """Answers texts with calibrated probabilities; the same text gets the same answer in any company.

    On a CPU a DistilBERT is computed without padding; anything else as its library does. Of the classifier that it is
    made of it keeps copies of what it needs, so that weights and their file are let go of with the classifier.
    """

    has_scores = True

    def __init__(self, classifier: Classifier) -> None:
        self.name, self.labels = classifier.name, classifier.labels
        self.temperature, self.window = classifier.temperature, classifier.window
        self.plan = f"torch-{precision_of(classifier.model.dtype)}"
        self._encoder = classifier.encoder
        self._body: Body = packed(classifier.model) or PaddedModel(classifier.model, classifier.pad_id)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        precision: PrecisionSetting = "fp32",
        *,
        name: str | None = None,
        max_tokens: int | None = None,
    ) -> "AnsweringClassifier":
        """Arguments and errors as of `Classifier.load`."""
        return cls(Classifier.load(folder, device, precision, name=name, max_tokens=max_tokens))

    def predict(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> Scores:
        """Scores in the order of the texts; what lies beyond the window is cut and flagged.

        Args: token_budget: tokens per forward pass, padding included where there is any.
        """
        return predict(self._body, self._encoder.encode(texts), self.labels, token_budget)

    def embed(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> NDArray[np.float32]:
        """What the layers below the head make of each text, (n, width); what lies beyond the window is cut."""
        return by_batch(self._body, self._body.means, self._encoder.encode(texts).ids, self._body.width, token_budget)
