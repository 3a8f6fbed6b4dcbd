"""One number that says which model this is, from the bytes of its files."""

import hashlib
from pathlib import Path

from shared.errors import ModelError

# Written by MLflow around a model, and changed by it between logging and downloading (run id, download
# location, environment): none of them changes an answer. Only at the top of the folder.
MLFLOW_FILES = frozenset(
    {
        "MLmodel",
        "LICENSE.txt",
        "conda.yaml",
        "constraints.txt",
        "model_card.md",
        "model_card_data.yaml",
        "python_env.yaml",
        "registered_model_meta",
        "requirements.txt",
    }
)
_CHUNK_BYTES = 1 << 20


def model_digest(folder: Path) -> str:
    """SHA-256, in hex, over the sorted relative names, sizes and contents of all files but MLflow's own notes.

    Raises: ModelError if the folder does not exist or holds no file of a model.
    """
    files = _model_files(folder)
    if not files:
        raise ModelError(f"{folder}: no model files there; download or train the model again")
    digest = hashlib.sha256()
    for name, path in files:
        # The size parts one file from the next: moving bytes between files must change the digest.
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        _feed(digest, path)
    return digest.hexdigest()


def verify(folder: Path, expected_digest: str) -> None:
    """Raises ModelError unless the folder's digest is the expected one."""
    found = model_digest(folder)
    if found != expected_digest:
        raise ModelError(f"{folder}: digest is {found}, expected {expected_digest}; download the model again")


def _model_files(folder: Path) -> list[tuple[str, Path]]:
    named = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return sorted((name, path) for name, path in named if name not in MLFLOW_FILES)


def _feed(digest: "hashlib._Hash", path: Path) -> None:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
