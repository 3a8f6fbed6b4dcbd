"""What an answering DistilBERT is made of: sizes, labels and weights, from its files or from a model in memory.

Reading the files here spares a process transformers' model classes, which take seconds to import, and a second copy of
all weights: a tensor is read when it is asked for, and let go of once it is laid out.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS_FILE = "model.safetensors"
KIND, ACTIVATION = "distilbert", "gelu"
BODY = "distilbert."
NORM_EPS = 1e-12
_LAYER_PARTS = (
    *(f"attention.{name}_lin" for name in ("q", "k", "v", "out")),
    *("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
)


@dataclass(frozen=True, slots=True)
class DistilBert:
    """A classifier's sizes and weights.

    Attributes:
        weight: the tensor of this name, as transformers names it; maybe a view of a file that lives as long as it, so
            copy what you keep.
    """

    layers: int
    heads: int
    weight: Callable[[str], torch.Tensor]

    def block(self, layer: int) -> Callable[[str], torch.Tensor]:
        """The tensors of one layer."""
        return lambda name: self.weight(f"{BODY}transformer.layer.{layer}.{name}")


def in_memory(model: "PreTrainedModel") -> DistilBert | None:
    """The weights of a model; None if it is of another kind, or on a GPU.

    There, a call of attention for each length among the texts may cost more than the padding that it saves.
    """
    # Imported late: whoever has such a model has paid the seconds that it takes.
    from transformers import DistilBertForSequenceClassification

    config = model.config
    if not isinstance(model, DistilBertForSequenceClassification) or config.activation != ACTIVATION:
        return None
    if model.device.type != "cpu":
        return None
    return DistilBert(config.n_layers, config.n_heads, model.state_dict().__getitem__)


def in_folder(folder: Path, config: Mapping[str, Any]) -> DistilBert | None:
    """The weights in a folder's one file of safetensors; None if it is not that, or not whole.

    Raises: Whatever safetensors does of a damaged file.
    """
    file = folder / WEIGHTS_FILE
    if config.get("model_type") != KIND or config.get("activation") != ACTIVATION or "id2label" not in config:
        return None
    if not file.is_file():
        return None
    with safe_open(file, framework="pt") as weights:
        names = set(weights.keys())
    layers, heads = int(config["n_layers"]), int(config["n_heads"])
    return DistilBert(layers, heads, lambda name: _read(file, name)) if names >= _names(layers) else None


def config_in(folder: Path) -> dict[str, Any]:
    """What config.json says. Raises: ValueError: It is no JSON object."""
    found = json.loads((folder / "config.json").read_text())
    if not isinstance(found, dict):
        raise ValueError("config.json is no object")
    return found


def _read(file: Path, name: str) -> torch.Tensor:
    """Opened for each, since the whole file counts as memory of ours while it is open."""
    with safe_open(file, framework="pt") as weights:
        found: torch.Tensor = weights.get_tensor(name)
    return found


def _names(layers: int) -> set[str]:
    """All that a whole one has."""
    parts = [f"transformer.layer.{layer}.{part}" for layer in range(layers) for part in _LAYER_PARTS]
    modules = [*(BODY + part for part in ("embeddings.LayerNorm", *parts)), "pre_classifier", "classifier"]
    tables = [f"{BODY}embeddings.{name}_embeddings.weight" for name in ("word", "position")]
    return {*tables, *(f"{module}.{kind}" for module in modules for kind in ("weight", "bias"))}
