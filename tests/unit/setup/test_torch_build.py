import platform
import sys
from pathlib import Path

import pytest

from deploy.setup import torch_build
from deploy.setup.paths import REQUIREMENTS

LOCK = """\
nvidia-cublas==13.1.1.3 ; sys_platform == 'linux' \\
    --hash=sha256:aa
torch==2.13.0 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
torchmetrics==1.0 \\
    --hash=sha256:dd
triton==3.7.1 \\
    --hash=sha256:ee
"""
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
WHEEL = f"torch-2.13.0+cpu-{TAG}-{TAG}-manylinux_2_28_{platform.machine()}.whl"


def test_torch_and_what_only_its_gpu_build_needs_leave_the_lock_and_nothing_else() -> None:
    assert torch_build.without_torch(LOCK) == "torchmetrics==1.0 \\\n    --hash=sha256:dd\n"


def test_the_committed_lock_parts_cleanly() -> None:
    lock = REQUIREMENTS.read_text()
    assert "".join(torch_build.blocks(lock)) == lock
    assert torch_build.locked_version(lock) in (REQUIREMENTS.parent / "deploy/setup/constraints.txt").read_text()
    assert "transformers==" in torch_build.without_torch(lock)
    assert "nvidia" not in torch_build.without_torch(lock)


@pytest.mark.parametrize("name", [WHEEL, WHEEL.replace("+", "%2B")])
def test_a_cpu_wheel_of_that_version_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert torch_build.cpu_wheel("2.13.0", [tmp_path / "absent", tmp_path]) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        WHEEL.replace("2.13.0", "2.12.0"),
        WHEEL.replace("+cpu", ""),
        WHEEL.replace(TAG, "cp27"),
        WHEEL.replace(platform.machine(), "sparc"),
    ],
    ids=["another version", "gpu build", "another python", "another machine"],
)
def test_any_other_wheel_is_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert torch_build.cpu_wheel("2.13.0", [tmp_path]) is None
