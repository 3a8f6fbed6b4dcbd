"""The Hugging Face Trainer, set up as a plan says."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from services.retrainer.callbacks import CheckpointMarker, Epochal, EpochOrder, ProgressRecorder
from services.retrainer.early_stop import LEAST_VALIDATION_ROWS, MEASURE
from services.retrainer.encoding import Collator, EncodedRows
from services.retrainer.losses import teaching_loss
from services.retrainer.plan import Hardware, Plan
from services.retrainer.progress import ProgressLog
from services.retrainer.runs import RunFolder
from services.retrainer.sampling import LengthGroupedSampler
from shared.training_settings import TrainingSettings

LOWEST_LEARNING_RATE_SHARE = 0.1
CHECKPOINTS_KEPT = 2
EVALUATION_BATCH_ROWS = 32


@dataclass(frozen=True)
class Course:
    """How a model is trained, whatever it learns, and where that leaves its traces."""

    training: TrainingSettings
    hardware: Hardware
    seed: int
    checkpoints: Path
    progress_file: Path

    @property
    def device_batch_rows(self) -> int:
        """Rows of one process's share of a batch."""
        return max(1, self.training.batch_rows // self.training.processes)


class Rows(Protocol):
    """Rows to learn, of known length."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> dict[str, Any]: ...


class PlannedTrainer(Trainer):
    """A Trainer whose order of rows depends on seed and epoch alone."""

    def __init__(self, sampler: LengthGroupedSampler, **options: Any) -> None:
        self._sampler = sampler
        super().__init__(**options)
        # The loss is a mean over the batch already; asked to, the Trainer would count labels across processes.
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return self._sampler


class ClassifierTrainer(PlannedTrainer):
    """One whose loss the settings name."""

    def __init__(self, sampler: LengthGroupedSampler, training: TrainingSettings, **options: Any) -> None:
        self._training = training
        super().__init__(sampler, **options)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """As planned while training; plain cross-entropy on validation rows."""
        labels, teacher, taught = (inputs.pop(name, None) for name in ("labels", "teacher", "taught"))
        outputs = model(**inputs)
        smoothing = self._training.label_smoothing if model.training else 0.0
        loss = functional.cross_entropy(outputs.logits.float(), labels, label_smoothing=smoothing)
        if teacher is not None:
            loss = loss + teaching_loss(outputs.logits, teacher, taught, self._training.distillation)
        return (loss, outputs) if return_outputs else loss


def build_trainer(
    run: RunFolder,
    plan: Plan,
    model: nn.Module,
    collator: Collator,
    rows: EncodedRows,
    validation: EncodedRows,
    callbacks: Sequence[TrainerCallback],
) -> PlannedTrainer:
    """The Trainer of a classifier, with everything that the plan says."""
    watching = watching_validation(plan) if stops_early(plan, validation) else {}

    def make(sampler: LengthGroupedSampler, **options: Any) -> PlannedTrainer:
        return ClassifierTrainer(sampler, plan.training, eval_dataset=validation, **options)

    return assemble(course_of(run, plan), make, model, collator, rows, callbacks, **watching)


def assemble(
    course: Course,
    make: Callable[..., PlannedTrainer],
    model: nn.Module,
    collator: Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]],
    rows: Rows,
    callbacks: Sequence[TrainerCallback],
    drawn_anew: Sequence[Epochal] = (),
    **arguments: Any,
) -> PlannedTrainer:
    """A Trainer that keeps order, progress and checkpoints.

    Args:
        make: Called with the sampler and the Trainer's options.
        drawn_anew: What is told of every epoch that begins, beside the order of rows.
        arguments: More of TrainingArguments.
    """
    # Shared among the processes, so that their number does not change what a step is.
    global_batch = course.device_batch_rows * course.training.processes
    steps_per_epoch = math.ceil(len(rows) / global_batch)
    sampler = LengthGroupedSampler(rows.lengths, global_batch, course.seed)
    trainer = make(
        sampler,
        model=model,
        args=training_arguments(course, steps_per_epoch, **arguments),
        train_dataset=rows,
        data_collator=collator,
        callbacks=[
            EpochOrder([sampler, *drawn_anew], steps_per_epoch),
            ProgressRecorder(ProgressLog(course.progress_file), len(rows), global_batch),
            CheckpointMarker(),
            *callbacks,
        ],
    )
    trainer.remove_callback(PrinterCallback)  # the curve has a file of its own; the log is for what goes wrong
    return trainer


def course_of(run: RunFolder, plan: Plan) -> Course:
    """The course of a plan for a classifier."""
    return Course(plan.training, plan.hardware, plan.seed, run.checkpoints, run.progress_file)


def stops_early(plan: Plan, validation: EncodedRows) -> bool:
    """Whether the validation rows decide when training ends."""
    return plan.training.early_stop_patience > 0 and len(validation) >= LEAST_VALIDATION_ROWS


def training_arguments(course: Course, steps_per_epoch: int, **more: Any) -> TrainingArguments:
    """The course in the Trainer's words. Weight decay leaves biases and layer norms alone: the Trainer's default."""
    training, on_cpu = course.training, course.hardware.device == "cpu"
    return TrainingArguments(
        output_dir=str(course.checkpoints),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=course.device_batch_rows,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup_steps=math.ceil(training.warmup_share * training.epochs * steps_per_epoch),
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": LOWEST_LEARNING_RATE_SHARE},
        max_grad_norm=training.max_grad_norm,
        bf16=course.hardware.precision == "bf16",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and training.processes > 1 else None,
        ddp_find_unused_parameters=False,
        seed=course.seed,
        full_determinism=True,
        logging_steps=training.log_steps,
        logging_first_step=True,
        include_num_input_tokens_seen="non_padding",
        save_steps=training.checkpoint_steps,
        save_total_limit=CHECKPOINTS_KEPT,
        dataloader_num_workers=0,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        label_names=["labels"],
        per_device_eval_batch_size=EVALUATION_BATCH_ROWS,
        **more,
    )


def watching_validation(plan: Plan) -> dict[str, Any]:
    """What the Trainer must be told to evaluate at each checkpoint and go back to the best in the end."""
    return {
        "eval_strategy": "steps",
        "eval_steps": plan.training.checkpoint_steps,
        "load_best_model_at_end": True,
        "metric_for_best_model": MEASURE,
        "greater_is_better": False,
    }
