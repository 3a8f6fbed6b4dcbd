"""One training with the Hugging Face Trainer, as a plan says; resumes from the last complete checkpoint."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, Sampler
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from services.retrainer.checkpoints import latest_complete, mark_complete, step_of
from services.retrainer.plan import Plan
from services.retrainer.progress import Point, ProgressLog, Resumed, rows_seen
from services.retrainer.runs import RunFolder, TrainingRow
from services.retrainer.sampling import LengthGroupedSampler
from services.retrainer.soup import average
from shared.classifier.calibration import unfold_temperature
from shared.classifier.model import Classifier, new_classifier
from shared.errors import ModelError

LOWEST_LEARNING_RATE_SHARE = 0.1
CHECKPOINTS_KEPT = 2


@dataclass(frozen=True)
class Trained:
    """What `train` leaves besides the weights, which are in the classifier."""

    classifier: Classifier
    steps: int
    tokens_seen: int
    resumed_from_step: int
    seconds: float
    is_main_process: bool


class EncodedRows(Dataset[dict[str, Any]]):
    """Rows as token ids, cut to the training length, each tokenised once."""

    def __init__(self, rows: Sequence[TrainingRow], classifier: Classifier, max_tokens: int) -> None:
        encoded = classifier.tokenizer(
            [row.text for row in rows], truncation=True, max_length=min(max_tokens, classifier.window)
        )
        self._ids, self._labels = encoded["input_ids"], [row.label for row in rows]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self._ids]

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": self._ids[row], "labels": self._labels[row]}


class PlannedTrainer(Trainer):
    """A Trainer whose order of rows depends on seed and epoch alone."""

    def __init__(self, sampler: LengthGroupedSampler, **options: Any) -> None:
        self._sampler = sampler
        super().__init__(**options)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return self._sampler


class EpochOrder(TrainerCallback):
    """Tells the sampler which epoch begins, also when a resumed job begins in the middle of it."""

    def __init__(self, sampler: LengthGroupedSampler, steps_per_epoch: int) -> None:
        self._sampler, self._steps_per_epoch = sampler, steps_per_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._sampler.epoch = state.global_step // self._steps_per_epoch


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


def train(run: RunFolder, plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> Trained:
    """Trains as planned, from the last complete checkpoint if there is one.

    Raises:
        ModelError: The start is damaged, or has other labels than the plan.
    """
    began = time.monotonic()
    classifier = open_start(run.setup().start_folders, plan)
    # transformers would note it at the first loss, so that a job resumed after the last step saved other files.
    classifier.model.config.problem_type = "single_label_classification"
    rows = EncodedRows(run.rows("train"), classifier, plan.training.max_tokens)
    checkpoint = latest_complete(run.checkpoints)
    trainer = build_trainer(run, plan, classifier, rows, callbacks)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    forget_lengths(classifier)
    return Trained(
        classifier=Classifier(trained.to("cpu").eval(), classifier.tokenizer, name=plan.window_id),
        steps=trainer.state.global_step,
        tokens_seen=int(trainer.state.num_input_tokens_seen),
        resumed_from_step=step_of(checkpoint) if checkpoint else 0,
        seconds=time.monotonic() - began,
        is_main_process=trainer.is_world_process_zero(),
    )


def forget_lengths(classifier: Classifier) -> None:
    """Padding and truncation are state of the tokenizer and would be saved with it: training's are not serving's."""
    classifier.tokenizer.backend_tokenizer.no_padding()
    classifier.tokenizer.backend_tokenizer.no_truncation()


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


def build_trainer(
    run: RunFolder, plan: Plan, classifier: Classifier, rows: EncodedRows, callbacks: Sequence[TrainerCallback]
) -> PlannedTrainer:
    """The Trainer with everything that the plan says."""
    # Shared among the processes, so that their number does not change what a step is.
    global_batch = device_batch_rows(plan) * plan.training.processes
    steps_per_epoch = math.ceil(len(rows) / global_batch)
    sampler = LengthGroupedSampler(rows.lengths, global_batch, plan.seed)
    trainer = PlannedTrainer(
        sampler,
        model=classifier.model,
        args=training_arguments(plan, run.checkpoints, steps_per_epoch),
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(classifier.tokenizer),
        callbacks=[
            EpochOrder(sampler, steps_per_epoch),
            ProgressRecorder(ProgressLog(run.progress_file), len(rows), global_batch),
            CheckpointMarker(),
            *callbacks,
        ],
    )
    trainer.remove_callback(PrinterCallback)  # the curve has a file of its own; the log is for what goes wrong
    return trainer


def device_batch_rows(plan: Plan) -> int:
    """Rows of one process's share of a batch."""
    return max(1, plan.training.batch_rows // plan.training.processes)


def training_arguments(plan: Plan, output: Path, steps_per_epoch: int) -> TrainingArguments:
    """The plan in the Trainer's words. Weight decay leaves biases and layer norms alone: the Trainer's default."""
    training, on_cpu = plan.training, plan.hardware.device == "cpu"
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=device_batch_rows(plan),
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup_steps=math.ceil(training.warmup_share * training.epochs * steps_per_epoch),
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": LOWEST_LEARNING_RATE_SHARE},
        max_grad_norm=training.max_grad_norm,
        bf16=plan.hardware.precision == "bf16",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and training.processes > 1 else None,
        ddp_find_unused_parameters=False,
        seed=plan.seed,
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
    )


def use_one_device(device: str) -> None:
    """Shows torch a single GPU, since the Trainer would otherwise spread one process over all of them.

    To be called before anything asks for a GPU.
    """
    if device.startswith("cuda"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", device.partition(":")[2] or "0")
