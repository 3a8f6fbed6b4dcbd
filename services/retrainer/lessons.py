"""What the start model contributes before training: which replayed rows are hard, and what it answered on them.

Both come from one pass of the start weights over the replayed rows. The answers are kept in the run folder: a job that
resumes must pick the same rows and learn from the same answers, though its weights have moved on.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.retrainer.encoding import Teaching, token_ids
from services.retrainer.hard_rows import pick_hard, row_losses
from services.retrainer.plan import LearningPlan, Plan
from services.retrainer.runs import KeptRows, RunFolder, TrainingRow, write_whole
from shared.classifier.inference import TOKEN_BUDGET, PaddedModel, by_batch
from shared.classifier.model import Classifier
from shared.training_settings import HardReplaySettings

ANSWERS_FILE = "start_logits.npy"


@dataclass(frozen=True)
class Lessons:
    """The rows to learn; `kept` names the replayed ones where the job chose them."""

    rows: list[TrainingRow]
    teaching: Teaching | None = None
    kept: tuple[KeptRows, ...] | None = None


def prepare_lessons(run: RunFolder, plan: Plan, start: Classifier) -> Lessons:
    """Scores the replayed rows with the start model where the plan asks for it, and keeps those it says to keep."""
    rows, earlier = run.rows("train"), frozenset(plan.replay_window_ids)
    replayed = [row for row in rows if row.window_id in earlier]
    if not replayed or not (picks(plan) or teaches(plan)):
        return Lessons(rows)
    logits = start_logits(run.data / ANSWERS_FILE, start, replayed, plan)
    places = hard_places(plan, logits, replayed) if picks(plan) else list(range(len(replayed)))
    new = [row for row in rows if row.window_id not in earlier]
    kept = [replayed[place] for place in places]
    return Lessons(
        rows=new + kept,
        teaching=teaching_on_last(logits[places], len(new)) if teaches(plan) else None,
        kept=by_window(kept, plan.replay_window_ids) if picks(plan) else None,
    )


def picks(plan: Plan) -> bool:
    """Whether the job chooses among the replayed rows."""
    return plan.replay_kept is not None


def teaches(plan: Plan) -> bool:
    """Whether the start model teaches. A base under a fresh head has nothing to teach."""
    return plan.training.distillation.weight > 0 and plan.start.version is not None


def hard_places(plan: Plan, logits: NDArray[np.float32], rows: Sequence[TrainingRow]) -> list[int]:
    """Places of the replayed rows that are learned."""
    settings = plan.training.replay
    hard_share = settings.hard_share if isinstance(settings, HardReplaySettings) else 0.0
    losses = row_losses(logits, [row.label for row in rows])
    return pick_hard(losses, plan.replay_rows, hard_share, plan.seed)


def start_logits(file: Path, start: Classifier, rows: Sequence[TrainingRow], plan: Plan) -> NDArray[np.float32]:
    """(n, k) logits of the start model on the rows as training cuts them; asked once, then read from the file."""
    if file.exists():
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    ids = token_ids([row.text for row in rows], start, plan.training.max_tokens)
    device: Any = this_device(plan)  # transformers types `to` as if it took a model
    start.model.to(device)
    body = PaddedModel(start.model, start.pad_id)
    logits = by_batch(body, body.logits, ids, len(start.labels), TOKEN_BUDGET)
    # Of several processes, all ask, and the first writes: they cannot wait for each other before the Trainer is made.
    if os.environ.get("RANK", "0") == "0":
        content = io.BytesIO()
        np.save(content, logits, allow_pickle=False)
        write_whole(file, content.getvalue())
    return logits


def this_device(plan: LearningPlan) -> str:
    """The device of this process, among several of one machine."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if plan.hardware.device.startswith("cuda") else "cpu"


def teaching_on_last(logits: NDArray[np.float32], rows_before: int) -> Teaching:
    """Answers on the last rows only; the ones before them are not taught."""
    untaught = np.zeros((rows_before, logits.shape[1]), np.float32)
    taught = np.repeat([False, True], [rows_before, len(logits)])
    return Teaching(np.concatenate([untaught, logits]), taught)


def by_window(rows: Sequence[TrainingRow], window_ids: Sequence[str]) -> tuple[KeptRows, ...]:
    """The rows' offsets by window; windows that keep none are left out."""
    offsets = {
        window_id: tuple(sorted(row.offset for row in rows if row.window_id == window_id)) for window_id in window_ids
    }
    return tuple(KeptRows(window_id=window_id, offsets=found) for window_id, found in offsets.items() if found)
