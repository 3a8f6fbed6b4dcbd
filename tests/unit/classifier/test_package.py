"""Importing the package and its light parts loads no torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["", ".base", ".baseline", ".digest", ".layout", ".predictor", ".probe"])
def test_light_processes_stay_light(module: str) -> None:
    code = f"import shared.classifier{module}, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
