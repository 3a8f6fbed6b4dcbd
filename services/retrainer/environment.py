"""What a training ran on: written beside the model, so that a difference found later can be explained."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

CPU_INFO = Path("/proc/cpuinfo")


class Environment(BaseModel):
    """Versions and hardware of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    python: str
    platform: str
    cpus: int
    cpu_model: str
    cpu_flags: tuple[str, ...]
    threads: int
    device: str
    device_name: str
    packages: dict[str, str]


def describe(device: str) -> Environment:
    """The environment of this process."""
    import torch  # here, since the service that reads the file never needs torch

    cpu = cpu_facts(CPU_INFO.read_text() if CPU_INFO.exists() else "")
    return Environment(
        python=sys.version,
        platform=platform.platform(),
        cpus=os.cpu_count() or 1,
        cpu_model=cpu.get("model name", platform.processor()),
        cpu_flags=tuple(sorted(cpu.get("flags", "").split())),
        threads=torch.get_num_threads(),
        device=device,
        device_name=torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        packages=packages(),
    )


def cpu_facts(text: str) -> dict[str, str]:
    """Name -> value of the first processor in Linux's /proc/cpuinfo."""
    first = text.split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def packages() -> dict[str, str]:
    """Installed distributions and their versions, as `pip freeze` lists them."""
    found = {distribution.name: distribution.version for distribution in metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].casefold()))
