"""What happens around the steps of a training: order, progress, checkpoints, an eye on the parent."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback

from services.retrainer.checkpoints import mark_complete
from services.retrainer.progress import Point, ProgressLog, Resumed, rows_seen


class Epochal(Protocol):
    """What differs from one pass over the rows to the next."""

    epoch: int


class EpochOrder(TrainerCallback):
    """Says which epoch begins, also when a resumed job begins in the middle of it."""

    def __init__(self, told: Sequence[Epochal], steps_per_epoch: int) -> None:
        self._told, self._steps_per_epoch = told, steps_per_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for each in self._told:
            each.epoch = state.global_step // self._steps_per_epoch


class CheckpointMarker(TrainerCallback):
    """Marks each checkpoint once all of it is written."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class ProgressRecorder(TrainerCallback):
    """Writes the loss curve as it grows."""

    def __init__(self, log: ProgressLog, rows: int, batch_rows: int) -> None:
        self._log, self._rows, self._batch_rows = log, rows, batch_rows
        self._began, self._rows_before = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began, self._rows_before = time.monotonic(), self._rows_seen(state.global_step)
        if state.is_world_process_zero:
            self._log.append(Resumed(resumed_from=state.global_step))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return  # the Trainer's closing summary is no point of the curve
        seen = self._rows_seen(state.global_step)
        point = Point(
            step=state.global_step,
            total_steps=state.max_steps,
            loss=float(logs["loss"]),
            learning_rate=float(logs["learning_rate"]),
            rows_seen=seen,
            tokens_seen=int(state.num_input_tokens_seen),
            rows_per_second=(seen - self._rows_before) / max(time.monotonic() - self._began, 1e-9),
        )
        self._log.append(point)

    def _rows_seen(self, step: int) -> int:
        return rows_seen(step, self._rows, self._batch_rows)


class ParentWatch(TrainerCallback):
    """Ends an orphaned job where the kernel does not do it."""

    def __init__(self, parent_pid: int) -> None:
        self._parent_pid = parent_pid

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if os.getppid() != self._parent_pid:
            os._exit(1)
