"""`make lock`: pins every package of pyproject.toml to a version and its hashes, without addresses."""

from pathlib import Path

from deploy.setup import pip_config
from deploy.setup.commands import run
from deploy.setup.paths import CONSTRAINTS, PROJECT_FILE, REQUIREMENTS, UV_LOCK, VENV, VENV_UV

QUIET = ("--quiet", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate")
# One lock for every platform and for the oldest Python that the project supports.
COMPILE = (VENV_UV, "pip", "compile", "--universal", "--python-version", "3.11", "--upgrade", *QUIET)


def main() -> None:
    """Renews both locks: the packages, and the installer that installs them."""
    env = pip_config.uv_environment(pip_config.read())
    run(*COMPILE, "--all-extras", "--constraints", CONSTRAINTS, PROJECT_FILE, "--output-file", REQUIREMENTS, env=env)
    run(*COMPILE, "--no-deps", _uv_requirement(), "--output-file", UV_LOCK, env=env)


def _uv_requirement() -> Path:
    requirement = VENV / "uv.in"
    requirement.write_text("uv\n")
    return requirement


if __name__ == "__main__":
    main()
