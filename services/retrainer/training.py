"""One training as a plan says: from the start's weights to the candidate's; resumes from the last checkpoint."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.utils.deterministic
from transformers import TrainerCallback

from services.retrainer.checkpoints import latest_complete, step_of
from services.retrainer.early_stop import EarlyStop
from services.retrainer.encoding import Collator, EncodedRows
from services.retrainer.first_token import only_first_token
from services.retrainer.lessons import prepare_lessons
from services.retrainer.plan import Plan
from services.retrainer.runs import KeptRows, RunFolder
from services.retrainer.soup import average
from services.retrainer.trainable import adapted, freeze, merged
from services.retrainer.trainer import PlannedTrainer, build_trainer, stops_early
from services.retrainer.vocabulary import only_occurring
from shared.classifier.calibration import unfold_temperature
from shared.classifier.model import Classifier, new_classifier
from shared.errors import ModelError


@dataclass(frozen=True)
class Trained:
    """What `train` leaves besides the weights, which are in the classifier."""

    classifier: Classifier
    steps: int
    tokens_seen: int
    resumed_from_step: int
    seconds: float
    is_main_process: bool
    replay_kept: tuple[KeptRows, ...] | None = None
    best_step: int | None = None


def train(run: RunFolder, plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> Trained:
    """Trains as planned, from the last complete checkpoint if there is one.

    Raises:
        ModelError: The start is damaged, or has other labels than the plan.
        TrainingError: The plan names layers that the model does not have.
    """
    began = time.monotonic()
    start = open_start(run.setup().start_folders, plan)
    # transformers would note it at the first loss, so that a job resumed after the last step saved other files.
    start.model.config.problem_type = "single_label_classification"
    lessons = prepare_lessons(run, plan, start)
    training = plan.training
    rows = EncodedRows(lessons.rows, start, training.max_tokens, lessons.teaching)
    validation = EncodedRows(run.rows("validation"), start, training.max_tokens)
    model = adapted(start.model, training.adapter, plan.seed)
    freeze(start.model, training.frozen)
    checkpoint = latest_complete(run.checkpoints)
    with only_occurring(start.model, rows.words | validation.words), only_first_token(start.model):
        trainer = build_trainer(run, plan, model, Collator(start), rows, validation, callbacks)
        if stops_early(plan, validation):
            watch(trainer, EarlyStop(training.early_stop_patience), checkpoint)
        learned = run_from(checkpoint, trainer)
    trained = merged(learned)
    return Trained(
        classifier=Classifier(trained.to("cpu").eval(), start.tokenizer, name=plan.window_id),
        steps=trainer.state.global_step,
        tokens_seen=int(trainer.state.num_input_tokens_seen),
        resumed_from_step=step_of(checkpoint) if checkpoint else 0,
        seconds=time.monotonic() - began,
        is_main_process=trainer.is_world_process_zero(),
        replay_kept=lessons.kept,
        best_step=best_step(trainer),
    )


def run_from(checkpoint: Path | None, trainer: PlannedTrainer) -> Any:
    """Trains to the end, from the checkpoint if there is one; returns the model without what wraps it in training."""
    # Determinism needs no memory filled before it is written, which torch does by default and which takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


def watch(trainer: PlannedTrainer, early_stop: EarlyStop, checkpoint: Path | None) -> None:
    """Lets the validation loss end the training; one that it had ended before a kill takes no further step."""
    trainer.add_callback(early_stop)
    if checkpoint is not None and early_stop.stopped_at(checkpoint):
        trainer.args.max_steps = step_of(checkpoint)


def best_step(trainer: PlannedTrainer) -> int | None:
    """The step whose weights were gone back to."""
    best = trainer.state.best_model_checkpoint
    return step_of(Path(best)) if best else None


def open_start(folders: Sequence[Path], plan: Plan) -> Classifier:
    """The base under a fresh head, or a version as training left it, or the average of several."""
    if plan.start.version is None:
        return new_classifier(folders[0], plan.labels, plan.seed)
    first, *others = (open_parent(folder, plan) for folder in folders)
    if others:
        first.model.load_state_dict(average([parent.model.state_dict() for parent in (first, *others)]))
    return first


def open_parent(folder: Path, plan: Plan) -> Classifier:
    """A version's weights before its temperature."""
    classifier = Classifier.load(folder)
    if classifier.labels != plan.labels:
        raise ModelError(
            f"{folder.name}: its labels are {list(classifier.labels)}, the window's are {list(plan.labels)}; "
            "set training.start to 'base'"
        )
    unfold_temperature(classifier.model)
    return classifier


def use_one_device(device: str) -> None:
    """Shows torch a single GPU, since the Trainer would otherwise spread one process over all of them.

    To be called before anything asks for a GPU.
    """
    if device.startswith("cuda"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", device.partition(":")[2] or "0")
