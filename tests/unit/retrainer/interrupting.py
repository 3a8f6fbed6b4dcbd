"""A training that is cut short, as a kill would, and what it leaves."""

from typing import Any

import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from services.retrainer.runs import RunFolder


class Interrupted(Exception):
    """Stands for a kill."""


class KillAt(TrainerCallback):
    """Ends the training after a step, before anything else is written."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            raise Interrupted


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    """The finished model's weights."""
    return load_file(run.model / "model" / "model.safetensors")
