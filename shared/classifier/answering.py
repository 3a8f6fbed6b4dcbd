"""A classifier that only answers: laid out once for speed, not to be trained, changed or saved."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from shared.classifier.inference import TOKEN_BUDGET, Body, PaddedModel, by_batch, predict
from shared.classifier.int8 import has_int8, int8_linear
from shared.classifier.model import Classifier
from shared.classifier.packed import packed
from shared.classifier.plan import Plan
from shared.classifier.precision import PrecisionSetting, precision_of
from shared.classifier.predictor import Scores
from shared.classifier.threads import with_threads
from shared.errors import ConfigurationError


class AnsweringClassifier:
    """Answers texts with calibrated probabilities; the same text gets the same answer in any company.

    On a CPU a DistilBERT is computed without padding; anything else as its library does. Of the classifier that it is
    made of it keeps copies of what it needs, so that weights and their file are let go of with the classifier.
    """

    has_scores = True

    def __init__(self, classifier: Classifier, plan: Plan | None = None) -> None:
        """Args: plan: how to compute; None: in the precision that the classifier was loaded in, as torch is set up.

        Raises:
            ConfigurationError: This model cannot be computed so here.
        """
        self.name, self.labels = classifier.name, classifier.labels
        self.temperature, self.window = classifier.temperature, classifier.window
        self.shape = _shape(classifier)
        self._plan = plan or _usual_plan(classifier)
        self._encoder = classifier.encoder
        self._body = _body(classifier, self._plan)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        precision: PrecisionSetting = "fp32",
        *,
        name: str | None = None,
        max_tokens: int | None = None,
        plan: Plan | None = None,
    ) -> "AnsweringClassifier":
        """Arguments and errors as of `Classifier.load`; a plan goes before the precision."""
        setting: PrecisionSetting = precision if plan is None else "fp32"
        return cls(Classifier.load(folder, device, setting, name=name, max_tokens=max_tokens), plan)

    @property
    def plan(self) -> str:
        """The id of how it computes."""
        return self._plan.id

    def under(self, plan: Plan) -> Self:
        """The same weights under a plan of the same precision; nothing is copied.

        Raises:
            ConfigurationError: The plan is of another precision, which takes other weights.
        """
        if plan.precision != self._plan.precision:
            raise ConfigurationError(
                f"{self.name}: laid out as {self.plan}, so not for {plan.id}; load it for that plan"
            )
        other = copy(self)
        other._plan = plan
        return other

    def predict(self, texts: Sequence[str], token_budget: int | None = None) -> Scores:
        """Scores in the order of the texts; what lies beyond the window is cut and flagged.

        Args: token_budget: tokens per forward pass, padding included where there is any; None: the plan's.
        """
        with with_threads(self._plan.threads):
            budget = token_budget or self._plan.token_budget
            return predict(self._body, self._encoder.encode(texts), self.labels, budget)

    def embed(self, texts: Sequence[str], token_budget: int | None = None) -> NDArray[np.float32]:
        """What the layers below the head make of each text, (n, width); what lies beyond the window is cut."""
        with with_threads(self._plan.threads):
            budget = token_budget or self._plan.token_budget
            return by_batch(self._body, self._body.means, self._encoder.encode(texts).ids, self._body.width, budget)


def _usual_plan(classifier: Classifier) -> Plan:
    return Plan("torch", precision_of(classifier.model.dtype), torch.get_num_threads(), TOKEN_BUDGET)


def _body(classifier: Classifier, plan: Plan) -> Body:
    model = classifier.model
    if plan.precision == "int8":
        body = packed(model, int8_linear) if has_int8() else None
        if body is None:
            raise ConfigurationError(
                f"{classifier.name}: only a DistilBERT on a CPU, by a torch with oneDNN, does int8"
            )
        return body
    if plan.precision == "bf16":
        model.bfloat16()
    return packed(model) or PaddedModel(model, classifier.pad_id)


def _shape(classifier: Classifier) -> str:
    config = classifier.model.config
    return f"{config.model_type}-{getattr(config, 'num_hidden_layers', 0)}x{config.hidden_size}"
