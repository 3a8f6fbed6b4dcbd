"""What is known of a classifier without its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Where config.json records the temperature. Plain `temperature` belongs to text generation: transformers refuses to
# save it here.
TEMPERATURE_FIELD = "folded_temperature"


@dataclass(frozen=True, slots=True)
class About:
    """Of one classifier.

    Attributes:
        labels: in the order of the logits. temperature: folded into its last layer. window: tokens that it reads of a
            text, special ones included. shape: its kind and size, the same for models that are equally fast.
    """

    name: str
    labels: tuple[str, ...]
    temperature: float
    window: int
    shape: str


def about_files(config: Mapping[str, Any], options: Mapping[str, Any], name: str, max_tokens: int | None) -> About:
    """Of a DistilBERT's config.json and its tokenizer's tokenizer_config.json.

    Args: max_tokens: cuts texts shorter than the model's own window would; None leaves it to the model.
    """
    names = {int(column): str(label) for column, label in config["id2label"].items()}
    windows = [int(config["max_position_embeddings"]), options.get("model_max_length"), max_tokens]
    return About(
        name=name,
        labels=tuple(names[column] for column in sorted(names)),
        temperature=float(config.get(TEMPERATURE_FIELD, 1.0)),
        window=int(min(window for window in windows if window is not None)),
        shape=shape("distilbert", int(config["n_layers"]), int(config["dim"])),
    )


def shape(kind: str, layers: int, width: int) -> str:
    """The kind and size of a network.

    >>> shape("distilbert", 6, 768)
    'distilbert-6x768'
    """
    return f"{kind}-{layers}x{width}"
