"""Remembers what was set up, so that a second call has nothing to do."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.local import jars
from deploy.setup import datasets
from deploy.setup.paths import CONSTRAINTS, DATASETS_LOCK, PROJECT_FILE, REQUIREMENTS, UV_LOCK, VENV, cache_dir

STAMP = VENV / "setup.stamp"
INPUTS = (REQUIREMENTS, UV_LOCK, DATASETS_LOCK, CONSTRAINTS, PROJECT_FILE, jars.LOCK)
INSTALLED = ("python", "uv", "ruff", "pytest", "tidemill")


def key(inputs: Iterable[Path] = INPUTS) -> str:
    """Changes with the interpreter, the cache folder, and the content of any input."""
    digest = hashlib.sha256(f"{sys.version}\0{cache_dir()}\0".encode())
    for path in inputs:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current() -> bool:
    """Whether everything that set-up makes was made from these inputs and still lies there, whole."""
    return (
        STAMP.is_file()
        and STAMP.read_text() == key()
        and all((VENV / "bin" / name).exists() for name in INSTALLED)
        and all(dataset.is_whole() for dataset in datasets.DATASETS)
        and not jars.damaged(jars.read_lock(), jars.folder())
    )


def write() -> None:
    """Says that set-up went through."""
    STAMP.write_text(key())
