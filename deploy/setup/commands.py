"""Running other programs during set-up."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.setup.paths import ROOT


class SetupError(Exception):
    """Set-up cannot go on: says what failed and what to do."""


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Runs a command in the clone with its output shown.

    Raises:
        SetupError: It ended with another status than 0.
    """
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env={**os.environ, **(env or {})}, check=False)
    if done.returncode:
        raise SetupError(f"'{' '.join(map(str, command[:6]))} …' failed with status {done.returncode}; see above")


def output(*command: str | Path) -> str:
    """The standard output of a command run in the clone; empty if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
