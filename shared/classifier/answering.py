"""A classifier that only answers: laid out once for speed, not to be trained, changed or saved."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray

from shared.classifier.about import About, about_files, shape
from shared.classifier.damage import load_errors
from shared.classifier.devices import Tell, lost_devices, nobody
from shared.classifier.distilbert import DistilBert, config_in, in_folder, in_memory
from shared.classifier.inference import TOKEN_BUDGET, Body, Encoder, PaddedModel, by_batch, predict
from shared.classifier.int8 import has_int8
from shared.classifier.layout import locate
from shared.classifier.packed import PackedDistilBert
from shared.classifier.plan import Plan
from shared.classifier.precision import PrecisionSetting, choose_precision, precision_of
from shared.classifier.predictor import Scores
from shared.classifier.threads import threads_on, with_threads
from shared.classifier.tokenizing import read_tokenizer
from shared.classifier.varlen import has_fused
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.classifier.model import Classifier

# Of a pack, where nobody waits for a batch that another one is in. On a CPU half as many take 3 to 7 % longer.
# On an H100 twice as many are up to 3 % faster, and take twice the memory.
TOKENS_IN_BULK, TOKENS_IN_BULK_ON_GPU = 2048, 16_384


def tokens_in_bulk(device: str) -> int:
    """Of one forward pass, where nobody waits for it."""
    return TOKENS_IN_BULK if torch.device(device).type == "cpu" else TOKENS_IN_BULK_ON_GPU


class AnsweringClassifier:
    """Answers texts with calibrated probabilities; the same text gets the same answer in any company.

    A DistilBERT is computed without padding, on a CPU and where a GPU has what that takes; anything else as its library
    does. Of what it is made of it keeps copies, so that weights and their file are let go of.
    """

    has_scores = True

    def __init__(self, about: About, encoder: Encoder, body: Body, plan: Plan) -> None:
        self.name, self.labels = about.name, about.labels
        self.temperature, self.window, self.shape = about.temperature, about.window, about.shape
        self._encoder, self._body, self._plan = encoder, body, plan
        self._lost: Tell = nobody

    @classmethod
    def of(cls, classifier: "Classifier", plan: Plan | None = None) -> Self:
        """The same classifier, only to answer.

        Args: plan: how to compute; None: in the precision that the classifier was loaded in, as torch is set up.
        Raises:
            ConfigurationError: This model cannot be computed so here.
        """
        device = str(classifier.model.device)
        weights = in_memory(classifier.model) if _is_packed_on(device) else None
        budget = TOKEN_BUDGET if weights is None else tokens_in_bulk(device)
        plan = plan or Plan("torch", precision_of(classifier.model.dtype), threads_on(device), budget)
        return cls(_about(classifier), classifier.encoder, _body(classifier, weights, plan, device), plan)

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
        lost: Tell = nobody,
    ) -> Self:
        """Arguments and errors as of `Classifier.load`; a plan goes before the precision.

        Args: lost: is told, now or when it answers, if the device is lost to this process; so whoever asked is.
        """
        with lost_devices(lost):
            found = cls._load(folder, name or folder.name, device, precision, max_tokens, plan)
        found._lost = lost
        return found

    @classmethod
    def _load(
        cls,
        folder: Path,
        name: str,
        device: str,
        precision: PrecisionSetting,
        max_tokens: int | None,
        plan: Plan | None,
    ) -> Self:
        own = plan or Plan("torch", choose_precision(precision, device), threads_on(device), tokens_in_bulk(device))
        if _is_packed_on(device) and (found := cls._read(folder, name, max_tokens, own, device)) is not None:
            return found
        # Imported late: it takes seconds, which whoever serves a DistilBERT is spared.
        from shared.classifier.model import Classifier

        setting: PrecisionSetting = precision if plan is None else "fp32"
        return cls.of(Classifier.load(folder, device, setting, name=name, max_tokens=max_tokens), plan)

    @classmethod
    def _read(cls, folder: Path, name: str, max_tokens: int | None, plan: Plan, device: str) -> Self | None:
        """A DistilBERT out of its files; None if they hold another model, or its library must say what they mean."""
        _refuse_int8(name, plan, device, is_packed=True)
        layout = locate(folder)
        with load_errors(folder):
            config = config_in(layout.model)
            weights, tokenizer = in_folder(layout.model, config), read_tokenizer(layout.tokenizer)
            if weights is None or tokenizer is None:
                return None
            backend, options = tokenizer
            about = about_files(config, options, name, max_tokens)
        return cls(about, Encoder(backend, about.window), PackedDistilBert(weights, plan.precision, device), plan)

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
        Raises: DeviceLostError: It is of no use to ask again.
        """
        with with_threads(self._plan.threads), lost_devices(self._lost):
            budget = token_budget or self._plan.token_budget
            return predict(self._body, self._encoder.encode(texts), self.labels, budget)

    def embed(self, texts: Sequence[str], token_budget: int | None = None) -> NDArray[np.float32]:
        """What the layers below the head make of each text, (n, width); what lies beyond the window is cut.

        Raises: DeviceLostError: It is of no use to ask again.
        """
        with with_threads(self._plan.threads), lost_devices(self._lost):
            budget = token_budget or self._plan.token_budget
            return by_batch(self._body, self._body.means, self._encoder.encode(texts).ids, self._body.width, budget)


def _about(classifier: "Classifier") -> About:
    config = classifier.model.config
    return About(
        name=classifier.name,
        labels=classifier.labels,
        temperature=classifier.temperature,
        window=classifier.window,
        shape=shape(config.model_type, getattr(config, "num_hidden_layers", 0), config.hidden_size),
    )


def _body(classifier: "Classifier", weights: DistilBert | None, plan: Plan, device: str) -> Body:
    _refuse_int8(classifier.name, plan, device, is_packed=weights is not None)
    if weights is not None:
        return PackedDistilBert(weights, plan.precision, device)
    if plan.precision == "bf16":
        classifier.model.bfloat16()
    return PaddedModel(classifier.model, classifier.pad_id)


def _is_packed_on(device: str) -> bool:
    return torch.device(device).type == "cpu" or has_fused(device)


def _refuse_int8(name: str, plan: Plan, device: str, *, is_packed: bool) -> None:
    if plan.precision == "int8" and not (is_packed and has_int8(device)):
        raise ConfigurationError(f"{name}: int8 takes a DistilBERT, a CPU, and a torch with oneDNN")
