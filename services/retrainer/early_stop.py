"""Stops a training whose validation loss no longer falls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState

STATE_FILE = "trainer_state.json"
MEASURE = "eval_loss"
# With fewer rows the loss on them says more about the rows than about the model.
LEAST_VALIDATION_ROWS = 30


def evaluations_since_best(history: Sequence[Mapping[str, Any]]) -> int:
    """Evaluations after the one of least loss; 0 if the last one is it, or there is none.

    >>> evaluations_since_best([{"eval_loss": 0.5}, {"loss": 0.1}, {"eval_loss": 0.6}, {"eval_loss": 0.5}])
    2
    """
    losses = [float(entry[MEASURE]) for entry in history if MEASURE in entry]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


class EarlyStop(TrainerCallback):
    """Ends the training after so many evaluations without a better one.

    It keeps no count of its own, as transformers' callback does, but reads the Trainer's history: that is part of a
    checkpoint, so a resumed job stops where an unbroken one would.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if evaluations_since_best(state.log_history) >= self._patience:
            control.should_training_stop = True

    def stopped_at(self, checkpoint: Path) -> bool:
        """Whether the job that left the checkpoint had come to its end with it."""
        state = TrainerState.load_from_json(str(checkpoint / STATE_FILE))
        return evaluations_since_best(state.log_history) >= self._patience
