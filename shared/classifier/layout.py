"""Where a model's files lie inside a folder: flat, or as MLflow's `transformers` flavour spreads them."""

from dataclasses import dataclass
from pathlib import Path

from shared.errors import ModelError


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder with config.json and weights, and the one with the tokenizer (often the same)."""

    model: Path
    tokenizer: Path


def locate(folder: Path) -> Layout:
    """Finds model and tokenizer in a flat folder, or in MLflow's `model/` and `components/tokenizer/`.

    Raises: ModelError if neither holds a config.json.
    """
    if _holds_model(folder):
        return Layout(model=folder, tokenizer=folder)
    model, tokenizer = folder / "model", folder / "components" / "tokenizer"
    if _holds_model(model):
        return Layout(model=model, tokenizer=tokenizer if tokenizer.is_dir() else model)
    raise ModelError(f"{folder}: no config.json there or in model/; this is not a model's folder")


def weights_bytes(folder: Path) -> int:
    """Size of a model's weights, wherever they lie in the folder."""
    return sum(file.stat().st_size for file in locate(folder).model.glob("*.safetensors"))


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()
