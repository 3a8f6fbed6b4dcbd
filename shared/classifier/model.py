"""The classifier: a transformer with a head, its tokenizer and its labels, from safetensors and JSON only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from shared.classifier.calibration import temperature_of
from shared.classifier.inference import TOKEN_BUDGET, Encoder, embed, infer
from shared.classifier.layout import locate
from shared.classifier.precision import PrecisionSetting, choose_precision, torch_dtype
from shared.classifier.predictor import Scores
from shared.classifier.quiet import quietly
from shared.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedConfig, PreTrainedModel

# Never the hub, never pickle, never code that came with the weights.
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_WEIGHTS = {**_LOCAL, "use_safetensors": True, "output_loading_info": True}


class Classifier:
    """Answers texts with calibrated probabilities; the same text gets the same answer in any company."""

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
        self._encoder = Encoder(tokenizer, self.window)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

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
        with _load_errors(folder), quietly():
            model, found = AutoModelForSequenceClassification.from_pretrained(layout.model, dtype=dtype, **_WEIGHTS)
            tokenizer = _load_tokenizer(layout.tokenizer)
        _refuse_missing(found["missing_keys"], folder)
        return cls(model.to(device).eval(), tokenizer, name=name or folder.name, max_tokens=max_tokens)

    def save(self, folder: Path) -> None:
        """Writes weights (safetensors), config and tokenizer (JSON) flat into the folder, made if need be."""
        # Left over from whoever tokenised last, they would be saved, and change the digest of the same model.
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.backend_tokenizer.no_truncation()
        with quietly():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

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
        own = min(int(self.tokenizer.model_max_length), int(self.model.config.max_position_embeddings))
        return own if self._max_tokens is None else min(own, self._max_tokens)

    def predict(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> Scores:
        """Scores in the order of the texts; what lies beyond the window is cut and flagged.

        Args: token_budget: padded tokens per forward pass.
        """
        encoded = self._encoder.encode(texts)
        logits = infer(self.model, encoded, self.pad_id, token_budget)
        return Scores.from_logits(self.labels, logits, encoded.lengths, encoded.truncated)

    def embed(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> "NDArray[np.float32]":
        """What the layers below the head make of each text, (n, width); what lies beyond the window is cut."""
        return embed(self.model, self._encoder.encode(texts), self.pad_id, token_budget)


def new_classifier(base_folder: Path, labels: Sequence[str], seed: int) -> Classifier:
    """The base's weights under a fresh head for these labels; the same seed gives the same head.

    Raises: ModelError if the base is damaged; ValueError for fewer than two or repeated labels.
    """
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise ValueError(f"a classifier needs two or more different labels, got {list(labels)}")
    with _load_errors(base_folder), quietly():
        config = AutoConfig.from_pretrained(base_folder, **_LOCAL)
        _name_labels(config, labels)
        model = _with_fresh_head(config, seed)
        base, found = AutoModel.from_pretrained(base_folder, dtype=torch.float32, **_WEIGHTS)
        tokenizer = _load_tokenizer(base_folder)
        model.base_model.load_state_dict(base.state_dict(), strict=False)
    # A pooler, say, may be missing from a base whose classifier has none.
    _refuse_missing(set(found["missing_keys"]) & set(model.base_model.state_dict()), base_folder)
    model.train(False)
    return Classifier(model, tokenizer, name=base_folder.name)


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    if not (folder / "tokenizer.json").is_file():
        # transformers would make one with an empty vocabulary, and the model would answer every text alike.
        raise ModelError(f"{folder}: tokenizer.json is missing; save the tokenizer beside the model")
    tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{folder}: its tokenizer has no fast version, which batching needs")
    return tokenizer


def _with_fresh_head(config: "PreTrainedConfig", seed: int) -> "PreTrainedModel":
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        auto: Any = AutoModelForSequenceClassification
        model: PreTrainedModel = auto.from_config(config, trust_remote_code=False)
    return model


def _name_labels(config: "PreTrainedConfig", labels: Sequence[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: column for column, label in enumerate(labels)}


def _refuse_missing(missing: set[str] | list[str], folder: Path) -> None:
    """transformers fills missing weights with random numbers; such a model would answer, and wrongly."""
    if missing:
        raise ModelError(f"{folder}: weights are missing ({', '.join(sorted(missing)[:3])} …); save the model again")


@contextmanager
def _load_errors(folder: Path) -> Iterator[None]:
    """Damaged files raise whatever the reader at hand raises, down to bare Exception; all mean the same here."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"{folder}: cannot be loaded as a model ({reason}); download or train it again") from error
