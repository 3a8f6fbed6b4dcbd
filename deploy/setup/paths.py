"""Where set-up finds its inputs and leaves what it makes."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
VENV_UV = VENV / "bin" / "uv"

REQUIREMENTS = ROOT / "requirements.lock"
UV_LOCK = ROOT / "deploy" / "setup" / "uv.lock"
DATASETS_LOCK = ROOT / "deploy" / "setup" / "datasets.lock"
CONSTRAINTS = ROOT / "deploy" / "setup" / "constraints.txt"
PROJECT_FILE = ROOT / "pyproject.toml"


def cache_dir() -> Path:
    """Folder for downloads that are checked by content, so that clones may share it.

    The environment variable `TIDEMILL_CACHE` names another one, as for the setting `cache`.
    """
    return Path(os.environ.get("TIDEMILL_CACHE", "~/.cache/tidemill")).expanduser().resolve()
