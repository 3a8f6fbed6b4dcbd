"""The CPU build of torch, where the machine has exactly the locked version at hand.

The registry's Linux wheel brings about 3 GB of CUDA libraries that a machine without a GPU never loads.
"""

import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

GPU_ONLY = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")


def blocks(lock: str) -> list[str]:
    """A lock's entries: the line that names a package with the hash lines that follow it."""
    return [block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", lock) if block.strip()]


def locked_version(lock: str) -> str:
    """The version of torch in a lock."""
    return next(re.match(r"torch==([\w.]+)", block)[1] for block in blocks(lock) if block.startswith("torch=="))  # type: ignore[index]


def without_torch(lock: str) -> str:
    """The lock without torch and without what only torch's GPU build needs."""
    return "".join(block for block in blocks(lock) if not GPU_ONLY.match(block))


def cpu_wheel(version: str, folders: Iterable[Path]) -> Path | None:
    """A wheel `torch-VERSION+cpu` for this interpreter and machine, if one of the folders holds it."""
    tag = f"-cp{sys.version_info.major}{sys.version_info.minor}-"
    for folder in folders:
        for wheel in sorted(folder.glob("torch-*.whl")):
            name = unquote(wheel.name)
            if name.startswith(f"torch-{version}+cpu{tag}") and name.endswith(f"{platform.machine()}.whl"):
                return wheel
    return None
