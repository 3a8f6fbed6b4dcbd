"""The classifier: a transformer with a head, its tokenizer and its labels, from safetensors and JSON only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from shared.classifier.calibration import temperature_of
from shared.classifier.damage import load_errors, refuse_missing
from shared.classifier.inference import TOKEN_BUDGET, Encoder, PaddedModel, predict
from shared.classifier.layout import locate
from shared.classifier.loading import (
    LOCAL,
    WEIGHTS,
    load_tokenizer,
    pad_id_of,
    save_flat,
    window_of,
)
from shared.classifier.precision import PrecisionSetting, choose_precision, torch_dtype
from shared.classifier.predictor import Scores
from shared.classifier.quiet import quietly

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

POOLER = "pooler."


class Classifier:
    """A model to train, change and save. Whoever only wants answers loads an `AnsweringClassifier`, which is faster."""

    has_scores = True

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: PreTrainedTokenizerFast,
        *,
        name: str = "classifier",
        max_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self._max_tokens = max_tokens
        self.encoder = Encoder(tokenizer.backend_tokenizer, self.window)
        self.pad_id = pad_id_of(tokenizer)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        precision: PrecisionSetting = "fp32",
        *,
        name: str | None = None,
        max_tokens: int | None = None,
    ) -> "Classifier":
        """Reads a flat folder or MLflow's layout, ready to answer.

        Args: max_tokens: cuts texts shorter than the model's own window would; None leaves it to the model.
        Raises: ModelError if anything is missing, damaged, of another format or not a classifier.
        """
        layout = locate(folder)
        dtype = torch_dtype(choose_precision(precision, device))
        with load_errors(folder), quietly():
            model, found = AutoModelForSequenceClassification.from_pretrained(layout.model, dtype=dtype, **WEIGHTS)
            tokenizer = load_tokenizer(layout.tokenizer)
        refuse_missing(found["missing_keys"], folder)
        return cls(model.to(device).eval(), tokenizer, name=name or folder.name, max_tokens=max_tokens)

    def save(self, folder: Path) -> None:
        """Writes weights (safetensors), config and tokenizer (JSON) flat into the folder, made if need be."""
        save_flat(self.model, self.tokenizer, folder)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        names: Mapping[Any, str] = self.model.config.id2label or {}
        return tuple(names[column] for column in sorted(names))

    @property
    def temperature(self) -> float:
        """The temperature folded into the last layer; 1 if none was."""
        return temperature_of(self.model)

    @property
    def window(self) -> int:
        """The most tokens that the model reads of a text, special ones included."""
        return window_of(self.model, self.tokenizer, self._max_tokens)

    def predict(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> Scores:
        """Scores in the order of the texts; what lies beyond the window is cut and flagged.

        Args: token_budget: padded tokens per forward pass.
        """
        return predict(PaddedModel(self.model, self.pad_id), self.encoder.encode(texts), self.labels, token_budget)


def new_classifier(base_folder: Path, labels: Sequence[str], seed: int) -> Classifier:
    """The base's weights under a fresh head for these labels; the same seed gives the same head.

    Raises: ModelError if the base is damaged; ValueError for fewer than two or repeated labels.
    """
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise ValueError(f"a classifier needs two or more different labels, got {list(labels)}")
    with load_errors(base_folder), quietly():
        config = AutoConfig.from_pretrained(base_folder, **LOCAL)
        _name_labels(config, labels)
        model = _with_fresh_head(config, seed)
        base, found = AutoModel.from_pretrained(base_folder, dtype=torch.float32, **WEIGHTS)
        tokenizer = load_tokenizer(base_folder)
        missing = set(found["missing_keys"])
        weights = {name: weight for name, weight in base.state_dict().items() if name not in missing}
        model.base_model.load_state_dict(weights, strict=False)
    # A base that guesses words has no pooler; where the classifier has one, that is part of its fresh head.
    needed = {name for name in model.base_model.state_dict() if not name.startswith(POOLER)}
    refuse_missing(missing & needed, base_folder)
    model.train(False)
    return Classifier(model, tokenizer, name=base_folder.name)


def _with_fresh_head(config: "PreTrainedConfig", seed: int) -> "PreTrainedModel":
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        auto: Any = AutoModelForSequenceClassification
        model: PreTrainedModel = auto.from_config(config, trust_remote_code=False)
    return model


def _name_labels(config: "PreTrainedConfig", labels: Sequence[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: column for column, label in enumerate(labels)}
