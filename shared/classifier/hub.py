"""Models from the Hugging Face hub, kept as flat folders of safetensors and JSON."""

import re
from pathlib import Path
from typing import Any

from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from shared.classifier.folders import build_once
from shared.classifier.quiet import quietly
from shared.errors import ConfigurationError


def fetch_base(name: str, cache_dir: Path, revision: str | None = None) -> Path:
    """A folder with the hub model's body and tokenizer, downloaded once per name and revision.

    Raises: ConfigurationError if the hub has no such model with safetensors, or cannot be reached.
    """
    return _fetch(AutoModel, "base", name, cache_dir, revision)


def fetch_classifier(name: str, cache_dir: Path, revision: str | None = None) -> Path:
    """A folder with the hub's classifier, head included; otherwise like `fetch_base`."""
    return _fetch(AutoModelForSequenceClassification, "classifier", name, cache_dir, revision)


def _fetch(loader: Any, kind: str, name: str, cache_dir: Path, revision: str | None) -> Path:
    # transformers' auto classes have no common type, hence Any.
    folder = re.sub(r"[^A-Za-z0-9._-]", "--", f"{kind}-{name}@{revision or 'main'}")

    def build(target: Path) -> None:
        with quietly():
            options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
            loader.from_pretrained(name, use_safetensors=True, **options).save_pretrained(target)
            AutoTokenizer.from_pretrained(name, **options).save_pretrained(target)

    try:
        return build_once(cache_dir / folder, build)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"model {name!r} (revision {revision or 'main'}): {reason}; set a folder, 'bundled', or a hub model "
            "that has safetensors"
        ) from error
