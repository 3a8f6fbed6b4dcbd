"""Models from the Hugging Face hub, kept as flat folders of safetensors and JSON."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from shared.classifier.folders import build_once
from shared.classifier.quiet import quietly
from shared.errors import ConfigurationError


def fetch_base(name: str, cache_dir: Path, revision: str | None = None) -> Path:
    """A folder with the hub model's body and tokenizer, downloaded once per name and revision.

    The head that guesses words comes along if the model has one: adapting the base to a stream's texts needs it.
    Raises: ConfigurationError if the hub has no such model with safetensors, or cannot be reached.
    """
    return _fetch(_base_with_its_head, "base", name, cache_dir, revision)


def fetch_classifier(name: str, cache_dir: Path, revision: str | None = None) -> Path:
    """A folder with the hub's classifier, head included; otherwise like `fetch_base`."""
    return _fetch(AutoModelForSequenceClassification.from_pretrained, "classifier", name, cache_dir, revision)


def _base_with_its_head(name: str, **options: Any) -> Any:
    body = AutoModel.from_pretrained(name, **options)
    if not any(known.endswith("ForMaskedLM") for known in body.config.architectures or ()):
        return body
    whole = AutoModelForMaskedLM.from_pretrained(name, **options)
    # The body under that head may lack a part that a classifier uses, such as BERT's pooler.
    return whole if set(body.state_dict()) == set(whole.base_model.state_dict()) else body


def _fetch(load: Callable[..., Any], kind: str, name: str, cache_dir: Path, revision: str | None) -> Path:
    # transformers' auto classes have no common type, hence Any.
    folder = re.sub(r"[^A-Za-z0-9._-]", "--", f"{kind}-{name}@{revision or 'main'}")

    def build(target: Path) -> None:
        with quietly():
            options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
            load(name, use_safetensors=True, **options).save_pretrained(target)
            AutoTokenizer.from_pretrained(name, **options).save_pretrained(target)

    try:
        return build_once(cache_dir / folder, build)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"model {name!r} (revision {revision or 'main'}): {reason}; set a folder, 'bundled', or a hub model "
            "that has safetensors"
        ) from error
