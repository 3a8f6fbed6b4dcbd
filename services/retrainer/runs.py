"""The folder of one training run: what is in it, and what stays of it."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from services.retrainer.plan import LearningPlan, NewWindow, Plan
from shared.events import ClosedWindow, Sha256, TrainingMetrics, UnlabeledWindow
from shared.label_quality import QUALITY_FILE, LabelQuality
from shared.settings import StreamSettings

log = structlog.get_logger("retrainer")
SET_ASIDE = "other-"
AnyModel = TypeVar("AnyModel", bound=BaseModel)
AnyWindow = ClosedWindow | UnlabeledWindow | NewWindow
_REASONS = TypeAdapter(list[str])


class TrainingRow(BaseModel):
    """One review as the job reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    window_id: str
    offset: NonNegativeInt
    text: str
    label: NonNegativeInt
    source: str | None = None


class JobSetup(BaseModel):
    """What the job needs to know of this machine; unlike the plan, it means nothing elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    start_folders: tuple[Path, ...] = Field(
        min_length=1, description="The base, or the versions to start from, verified; several are averaged."
    )
    threads: int | None = Field(None, description="Of torch. Null: torch's own choice.")


class KeptRows(BaseModel):
    """Replayed rows of one window that the job learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    window_id: str
    offsets: tuple[NonNegativeInt, ...] = Field(min_length=1, description="In `reviews.curated`.")


class TrainingResult(BaseModel):
    """What a finished job leaves beside the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    model_digest: Sha256
    metrics: TrainingMetrics
    calibration_rows: NonNegativeInt = Field(description="Rows the temperature was fitted on; 0: too few, it is 1.")
    validation_rows: NonNegativeInt
    validation_accuracy: float | None = Field(None, ge=0, le=1)
    replay_kept: tuple[KeptRows, ...] | None = Field(
        None, description="Rows that the job chose among the plan's replayed ones; null: all of them."
    )
    best_step: NonNegativeInt | None = Field(
        None, description="Step of the least validation loss, whose weights these are; null: no early stop was asked."
    )
    resumed_from_step: NonNegativeInt = Field(description="Where the last attempt went on; 0: from the start.")


class WorkFolder(ABC):
    """Paths of one run, and its small files, each written whole or not at all."""

    # The module that does the work, in a process of its own.
    JOB: ClassVar[str]
    # Names of the runs that learn windows, and of others in the same place.
    WINDOWS: ClassVar[str]
    OTHERS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "plan.json"
        self.setup_file = path / "job.json"
        self.result_file = path / "result.json"
        self.attempts_file = path / "attempts.json"
        self.environment_file = path / "environment.json"
        self.progress_file = path / "progress.jsonl"
        self.log_file = path / "job.log"
        self.lock_file = path / ".lock"
        self.data = path / "data"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.plots = path / "plots"

    @abstractmethod
    def plan(self) -> LearningPlan | None:
        """The plan, if there is one."""

    def is_finished(self) -> bool:
        """Whether the job has left all that it was to leave."""
        return self.result_file.exists()

    def setup(self) -> JobSetup:
        """What the service left for the job."""
        return JobSetup.model_validate_json(self.setup_file.read_bytes())

    def write(self, path: Path, content: BaseModel) -> None:
        """Writes one of the folder's files."""
        write_whole(path, content.model_dump_json(indent=2).encode())

    def write_rows(self, name: str, rows: Sequence[BaseModel]) -> None:
        """Writes rows for the job, one a line."""
        write_whole(self._rows_file(name), b"".join(row.model_dump_json().encode() + b"\n" for row in rows))

    def read_rows(self, name: str, kind: type[AnyModel]) -> list[AnyModel]:
        """Reads them back."""
        return [kind.model_validate_json(line) for line in self._rows_file(name).read_bytes().splitlines()]

    def failures(self) -> list[str]:
        """Why earlier attempts failed, oldest first."""
        return _REASONS.validate_json(self.attempts_file.read_bytes()) if self.attempts_file.exists() else []

    def add_failure(self, reason: str) -> list[str]:
        """Counts one more failed attempt; returns all."""
        failures = [*self.failures(), reason]
        write_whole(self.attempts_file, _REASONS.dump_json(failures))
        return failures

    def heavy_parts(self) -> tuple[Path, ...]:
        """Folders that the registry holds too or nobody needs again."""
        return self.checkpoints, self.data, self.model

    def drop_heavy_parts(self) -> None:
        """Deletes them; plan, result, logs and plots stay."""
        for folder in self.heavy_parts():
            shutil.rmtree(folder, ignore_errors=True)

    def _rows_file(self, name: str) -> Path:
        return self.data / f"{name}.jsonl"


Folder = TypeVar("Folder", bound=WorkFolder)


class RunFolder(WorkFolder):
    """The run of windows of labelled reviews, or of a rebuild."""

    JOB = "services.retrainer.job"
    WINDOWS = "w-*"
    OTHERS = ("rebuild-*",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.quality_file = path / QUALITY_FILE
        self.flat_model = path / "classifier"

    def plan(self) -> Plan | None:
        return read_if_there(Plan, self.plan_file)

    def is_finished(self) -> bool:
        return super().is_finished() or self.distrust() is not None

    def result(self) -> TrainingResult | None:
        """The result, if the job has finished."""
        return read_if_there(TrainingResult, self.result_file)

    def quality(self) -> LabelQuality | None:
        """What the job said of the window's labels, if it looked."""
        return read_if_there(LabelQuality, self.quality_file)

    def distrust(self) -> str | None:
        """Why the window's labels must not be learned; None if they may, or nobody looked."""
        quality = self.quality()
        return quality.distrust if quality else None

    def rows(self, name: str) -> list[TrainingRow]:
        """Rows as `write_rows` left them."""
        return self.read_rows(name, TrainingRow)

    def heavy_parts(self) -> tuple[Path, ...]:
        return *super().heavy_parts(), self.flat_model


class Runs(Generic[Folder]):
    """All run folders of one kind and one stream in this home."""

    def __init__(self, home: Path, stream: StreamSettings, kind: type[Folder]) -> None:
        self._root, self._kind = home.resolve() / "runs" / stream.folder, kind

    def folder(self, name: str) -> Folder:
        """The run of a window, or of something else by its name, whether it exists or not."""
        return self._kind(self._root / name)

    def planned_with(self, window: AnyWindow) -> Folder | None:
        """The run whose plan learns this window: its own, or the one of a later window that it was merged into."""
        for run in self._found(self._kind.WINDOWS):
            plan = run.plan()
            if plan is not None and _content(window) in map(_content, plan.windows):
                return run
        return None

    def of(self, windows: Sequence[AnyWindow]) -> Folder:
        """The run of these windows. A folder of that name with a plan for other rows is set aside first.

        A window's name is an offset only, and comes again when a stream is made anew in the same home.
        """
        run = self.folder(windows[-1].window_id)
        plan = run.plan()
        if plan is not None and [*map(_content, plan.windows)] != [*map(_content, windows)]:
            self.set_aside(run, "it learns other rows")
        return run

    def set_aside(self, run: Folder, reason: str) -> None:
        """Lets a planned run give its name to another."""
        plan = run.plan()
        aside = run.path.with_name(f"{SET_ASIDE}{run.path.name}-{plan.sha256()[:16] if plan else 'unplanned'}")
        log.warning("run_set_aside", window_id=run.path.name, reason=reason, folder=str(aside))
        shutil.rmtree(aside, ignore_errors=True)
        run.path.rename(aside)

    def drop_heavy_parts_of(self, names: frozenset[str]) -> None:
        """Tidies these runs, e.g. after a kill between publishing and tidying."""
        for run in self._found(self._kind.WINDOWS, *self._kind.OTHERS):
            if run.path.name in names:
                run.drop_heavy_parts()

    def _found(self, *patterns: str) -> list[Folder]:
        found = [path for pattern in patterns for path in self._root.glob(pattern)]
        return [self._kind(path) for path in sorted(found) if path.is_dir()]


def _content(window: AnyWindow) -> tuple[str, Sha256]:
    return window.window_id, window.snapshot.sha256


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that a kill leaves the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_if_there(model: type[AnyModel], path: Path) -> AnyModel | None:
    """What `WorkFolder.write` left in the file, or None without one."""
    return model.model_validate_json(path.read_bytes()) if path.exists() else None
