"""Environments of the peers that are no part of the project: made once, in the cache, one for each.

Each has the peer at its pinned version with what that needs; torch, transformers and whatever else it lacks come from
the project's own environment, which stands after it on its path. So nothing of theirs enters the project's lock.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from deploy.setup import pip_config
from deploy.setup.commands import output
from shared.settings import Settings

UV = Path(sys.executable).with_name("uv")
INSTALL_SECONDS = 600
COMPLETE = "complete"


@dataclass(frozen=True)
class Package:
    """A peer as its registry has it."""

    name: str
    requirement: str

    @property
    def folder(self) -> Path:
        """Its environment; another version has another."""
        return Settings().cache_folder / "bench-peers" / self.requirement

    @property
    def python(self) -> Path:
        """The interpreter that finds it."""
        return self.folder / "bin" / "python"

    @property
    def is_installed(self) -> bool:
        """Whether its environment is whole."""
        return (self.folder / COMPLETE).exists()


LITSERVE = Package("litserve", "litserve==0.2.19")
BENTOML = Package("bentoml", "bentoml==1.4.40")
RAY = Package("ray", "ray[serve]==2.60.0")


class NotInstalledError(Exception):
    """A peer's environment is not there and could not be made; the text says why."""


def install(package: Package, *, may_download: bool) -> None:
    """Makes the peer's environment, unless it is there.

    Raises:
        NotInstalledError: It is not there, and may not be fetched or could not be.
    """
    if package.is_installed:
        return
    if not may_download:
        raise NotInstalledError("not installed; run the bench without --quick once")
    print(f"installing {package.requirement} in {package.folder}", flush=True)
    venv.create(package.folder, with_pip=False, symlinks=True, clear=True)
    options = pip_config.parse(output(sys.executable, "-m", "pip", "config", "list"))
    command = [str(UV), "pip", "install", "--quiet", "--python", str(package.python), package.requirement]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **pip_config.uv_environment(options)},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{package.requirement} was not installed: {error}") from error
    if done.returncode:
        raise NotInstalledError(f"{package.requirement} was not installed: {done.stderr.strip()[-400:]}")
    _fall_back_on_ours(package)
    (package.folder / COMPLETE).touch()


def _fall_back_on_ours(package: Package) -> None:
    """What a .pth file names comes after the environment's own packages."""
    (site,) = package.folder.glob("lib/python*/site-packages")
    (site / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
