"""The steps of set-up, in order. Each may be repeated: what is there already is kept."""

import venv
from collections.abc import Callable

from deploy.setup import datasets, pip_config, torch_build
from deploy.setup.commands import SetupError, run
from deploy.setup.paths import REQUIREMENTS, ROOT, UV_LOCK, VENV, VENV_PYTHON, VENV_UV


def make_environment() -> None:
    """A virtual environment of the interpreter that runs this."""
    try:
        venv.create(VENV, with_pip=True, symlinks=True, upgrade_deps=False)
    except Exception as error:
        raise SetupError(f"cannot make {VENV}: {error}; is Python's venv module with ensurepip installed?") from error


def install_uv() -> None:
    """The installer, by pip, which every Python has."""
    run(VENV_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", UV_LOCK)


def install_packages() -> None:
    """Everything in the lock, with torch's CPU build where it is at hand, and the project itself in place."""
    options = pip_config.read()
    # Compiled once: with PYTHONDONTWRITEBYTECODE, as in many containers, every process would else compile torch anew.
    install = (VENV_UV, "pip", "install", "--compile-bytecode", "--python", VENV_PYTHON)
    env = pip_config.uv_environment(options)
    # The lock is complete; asked for dependencies too, uv would want a hash for a local build of torch.
    locked = (*install, "--no-deps", "--require-hashes", "-r")
    lock = REQUIREMENTS.read_text()
    wheel = torch_build.cpu_wheel(torch_build.locked_version(lock), pip_config.link_folders(options))
    if wheel is None:
        run(*locked, REQUIREMENTS, env=env)
    else:
        print(f"      torch from {wheel}", flush=True)
        without_torch = VENV / "requirements.without-torch.lock"
        without_torch.write_text(torch_build.without_torch(lock))
        run(*locked, without_torch, env=env)
        run(*install, "--no-deps", wheel, env=env)
    run(*install, "--no-deps", "--no-build-isolation", "--editable", ROOT, env=env)


def fetch_jars() -> None:
    """Apache Kafka's jars."""
    run(VENV_PYTHON, "-m", "deploy.local.jars")


def train_broker_start() -> None:
    """The cache that makes the broker start three times faster."""
    run(VENV_PYTHON, "-m", "deploy.local.aot")


STEPS: tuple[tuple[str, Callable[[], None]], ...] = (
    ("virtual environment", make_environment),
    ("uv, the installer", install_uv),
    ("packages, by version and hash", install_packages),
    ("data sets, by version and hash", datasets.fetch),
    ("Apache Kafka's jars, by hash", fetch_jars),
    ("the broker's start-up cache", train_broker_start),
)
