"""The folder of one domain adaptation: what is in it, and what stays of it."""

import shutil
from math import exp
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from services.retrainer.adaptation.plan import AdaptationPlan
from services.retrainer.runs import RunFolder, TrainingRow, WorkFolder, read_if_there
from shared.classifier.folders import UNFINISHED
from shared.events import AdaptationMetrics, Sha256
from shared.exam import EXAM_FOLDER, PARENT

TRAIN, VALIDATION, PROBE = "train", "validation", "probe"
# A model that guesses worse than this is broken, and e to much more is no number.
MOST_NATS = 700.0


class TextRow(BaseModel):
    """One text as the job reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    window_id: str
    offset: NonNegativeInt = Field(description="In `reviews.unlabeled`.")
    text: str


class Learned(BaseModel):
    """What the training of head or body leaves besides the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: NonNegativeInt = 0
    tokens_seen: NonNegativeInt = 0


class AdaptationResult(BaseModel):
    """What a finished job leaves beside the models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    model_digest: Sha256
    exam_digest: Sha256
    metrics: AdaptationMetrics
    head_steps: NonNegativeInt = Field(description="Steps that trained a fresh head alone; 0: the base has its own.")
    validation_rows: NonNegativeInt
    guesses: NonNegativeInt = Field(description="Tokens guessed on them.")

    def perplexities(self) -> dict[str, float]:
        """`before` and `after`, where they were measured."""
        losses = {"before": self.metrics.loss_before, "after": self.metrics.loss_after}
        return {when: exp(min(loss, MOST_NATS)) for when, loss in losses.items() if loss is not None}


class AdaptationFolder(WorkFolder):
    """The run of an adaptation.

    `exam` is what the gate compares: the parent as masked-language model, and a classifier made of either base.
    """

    JOB = "services.retrainer.adaptation.job"
    WINDOWS = "u-*"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.exam = path / EXAM_FOLDER
        self.parent = self.exam / PARENT
        self.head_checkpoints = path / "head-checkpoints"
        self.head_progress_file = path / "head-progress.jsonl"
        self.head_file = path / "head.json"
        self.body_file = path / "body.json"
        self.probes = path / "probes"

    def plan(self) -> AdaptationPlan | None:
        return read_if_there(AdaptationPlan, self.plan_file)

    def result(self) -> AdaptationResult | None:
        """The result, if the job has finished."""
        return read_if_there(AdaptationResult, self.result_file)

    def learned(self, file: Path) -> Learned:
        """What a training has left of itself; nothing, if there was none."""
        return read_if_there(Learned, file) or Learned()

    def rows(self, name: str) -> list[TextRow]:
        """Texts as `write_rows` left them."""
        return self.read_rows(name, TextRow)

    def probe_rows(self) -> list[TrainingRow]:
        """The labelled rows of the fine-tuning."""
        return self.read_rows(PROBE, TrainingRow)

    def probe_run(self, name: str) -> RunFolder:
        """The folder of one fine-tuning."""
        return RunFolder(self.probes / name)

    def probed(self, name: str) -> Path:
        """Where the classifier that came of it lies."""
        return self.exam / name

    def heavy_parts(self) -> tuple[Path, ...]:
        return *super().heavy_parts(), self.exam, self.head_checkpoints, self.probes

    def clear_unfinished(self) -> None:
        """Deletes folders that a kill left half built: they would be counted into digests."""
        for place in (self.path, self.exam):
            for leftover in place.glob(f"{UNFINISHED}*"):
                shutil.rmtree(leftover)
