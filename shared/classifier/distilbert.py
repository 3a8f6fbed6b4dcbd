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
# Of config.json; where one is not there, its library knows what it stands for.
NEEDED_FIELDS = ("n_layers", "n_heads", "dim", "hidden_dim", "vocab_size", "max_position_embeddings", "id2label")


WeightOf = Callable[[str], torch.Tensor]
"""The tensor of a name."""


@dataclass(frozen=True, slots=True)
class DistilBert:
    """A classifier's sizes and weights.

    Attributes:
        weight: the tensor of this name, as transformers names it; maybe a view of a file that lives as long as it, so
            copy what you keep.
    """

    layers: int
    heads: int
    weight: WeightOf

    def block(self, layer: int) -> WeightOf:
        """The tensors of one layer."""
        return lambda name: self.weight(f"{BODY}transformer.layer.{layer}.{name}")


def in_memory(model: "PreTrainedModel") -> DistilBert | None:
    """The weights of a model; None if it is of another kind."""
    # Imported late: whoever has such a model has paid the seconds that it takes.
    from transformers import DistilBertForSequenceClassification

    config = model.config
    if not isinstance(model, DistilBertForSequenceClassification) or config.activation != ACTIVATION:
        return None
    return DistilBert(config.n_layers, config.n_heads, model.state_dict().__getitem__)


def in_folder(folder: Path, config: Mapping[str, Any]) -> DistilBert | None:
    """The weights in a folder's one file of safetensors; None if it is not that, or not as its config says.

    Raises: Whatever safetensors does of a damaged file.
    """
    file = folder / WEIGHTS_FILE
    if config.get("model_type") != KIND or config.get("activation") != ACTIVATION or not file.is_file():
        return None
    if any(not config.get(field) for field in NEEDED_FIELDS):
        return None
    with safe_open(file, framework="pt") as weights:
        names = set(weights.keys())
        needed = _shapes(config)
        whole = names >= needed.keys() and all(
            weights.get_slice(name).get_shape() == list(shape) for name, shape in needed.items()
        )
    if not whole:
        return None
    return DistilBert(config["n_layers"], config["n_heads"], lambda name: _read(file, name))


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


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of all tensors that a whole one has."""
    width, hidden, labels = config["dim"], config["hidden_dim"], len(config["id2label"])
    square, norm = (width, width), (width,)
    layer = {f"attention.{name}_lin": square for name in ("q", "k", "v", "out")} | {
        "sa_layer_norm": norm,
        "ffn.lin1": (hidden, width),
        "ffn.lin2": (width, hidden),
        "output_layer_norm": norm,
    }
    modules: dict[str, tuple[int, ...]] = {f"{BODY}embeddings.LayerNorm": norm, "pre_classifier": square}
    modules["classifier"] = (labels, width)
    for number in range(config["n_layers"]):
        modules |= {f"{BODY}transformer.layer.{number}.{name}": shape for name, shape in layer.items()}
    tables = {
        f"{BODY}embeddings.word_embeddings.weight": (config["vocab_size"], width),
        f"{BODY}embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
    }
    weights = {f"{name}.weight": shape for name, shape in modules.items()}
    return tables | weights | {f"{name}.bias": shape[:1] for name, shape in modules.items()}
