"""The folder of one training run: what is in it, and what stays of it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from services.retrainer.plan import NewWindow, Plan
from shared.events import ClosedWindow, Sha256, TrainingMetrics
from shared.label_quality import QUALITY_FILE, LabelQuality
from shared.settings import StreamSettings

log = structlog.get_logger("retrainer")
SET_ASIDE = "other-"
AnyModel = TypeVar("AnyModel", bound=BaseModel)
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


class RunFolder:
    """Paths of one run, and its small files, each written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "plan.json"
        self.setup_file = path / "job.json"
        self.result_file = path / "result.json"
        self.quality_file = path / QUALITY_FILE
        self.attempts_file = path / "attempts.json"
        self.environment_file = path / "environment.json"
        self.progress_file = path / "progress.jsonl"
        self.log_file = path / "job.log"
        self.lock_file = path / ".lock"
        self.data = path / "data"
        self.checkpoints = path / "checkpoints"
        self.flat_model = path / "classifier"
        self.model = path / "model"
        self.plots = path / "plots"

    def plan(self) -> Plan | None:
        """The plan, if there is one."""
        return _read(Plan, self.plan_file)

    def setup(self) -> JobSetup:
        """What the service left for the job."""
        return JobSetup.model_validate_json(self.setup_file.read_bytes())

    def result(self) -> TrainingResult | None:
        """The result, if the job has finished."""
        return _read(TrainingResult, self.result_file)

    def quality(self) -> LabelQuality | None:
        """What the job said of the window's labels, if it looked."""
        return _read(LabelQuality, self.quality_file)

    def distrust(self) -> str | None:
        """Why the window's labels must not be learned; None if they may, or nobody looked."""
        quality = self.quality()
        return quality.distrust if quality else None

    def write(self, path: Path, content: BaseModel) -> None:
        """Writes one of the folder's files."""
        write_whole(path, content.model_dump_json(indent=2).encode())

    def write_rows(self, name: str, rows: list[TrainingRow]) -> None:
        """Writes rows for the job, one a line."""
        write_whole(self.data / f"{name}.jsonl", b"".join(row.model_dump_json().encode() + b"\n" for row in rows))

    def rows(self, name: str) -> list[TrainingRow]:
        """Reads them back."""
        lines = (self.data / f"{name}.jsonl").read_bytes().splitlines()
        return [TrainingRow.model_validate_json(line) for line in lines]

    def failures(self) -> list[str]:
        """Why earlier attempts failed, oldest first."""
        return _REASONS.validate_json(self.attempts_file.read_bytes()) if self.attempts_file.exists() else []

    def add_failure(self, reason: str) -> list[str]:
        """Counts one more failed attempt; returns all."""
        failures = [*self.failures(), reason]
        write_whole(self.attempts_file, _REASONS.dump_json(failures))
        return failures

    def drop_heavy_parts(self) -> None:
        """Deletes what the registry holds or nobody needs again; plan, result, logs and plots stay."""
        for folder in (self.checkpoints, self.data, self.flat_model, self.model):
            shutil.rmtree(folder, ignore_errors=True)


class Runs:
    """All run folders of one stream in this home."""

    def __init__(self, home: Path, stream: StreamSettings) -> None:
        self._root = home.resolve() / "runs" / stream.folder

    def folder(self, window_id: str) -> RunFolder:
        """The run of a window, or of a rebuild by its name, whether it exists or not."""
        return RunFolder(self._root / window_id)

    def planned_with(self, window: ClosedWindow) -> RunFolder | None:
        """The run whose plan learns this window: its own, or the one of a later window that it was merged into."""
        for run in self._all():
            plan = run.plan()
            if plan is not None and plan.rebuild is None and _content(window) in map(_content, plan.windows):
                return run
        return None

    def of(self, windows: Sequence[ClosedWindow]) -> RunFolder:
        """The run of these windows. A folder of that name with a plan for other rows is set aside first.

        A window's name is an offset only, and comes again when a stream is made anew in the same home.
        """
        run = self.folder(windows[-1].window_id)
        plan = run.plan()
        if plan is not None and [*map(_content, plan.windows)] != [*map(_content, windows)]:
            aside = run.path.with_name(f"{SET_ASIDE}{run.path.name}-{plan.sha256()[:16]}")
            log.warning("run_set_aside", window_id=plan.window_id, reason="it learns other rows", folder=str(aside))
            shutil.rmtree(aside, ignore_errors=True)
            run.path.rename(aside)
        return run

    def drop_heavy_parts_of(self, window_ids: frozenset[str]) -> None:
        """Tidies the runs of these windows, e.g. after a kill between publishing and tidying."""
        for run in self._all():
            if run.path.name in window_ids:
                run.drop_heavy_parts()

    def _all(self) -> list[RunFolder]:
        found = (*self._root.glob("w-*"), *self._root.glob("rebuild-*"))
        return [RunFolder(path) for path in sorted(found) if path.is_dir()]


def _content(window: ClosedWindow | NewWindow) -> tuple[str, Sha256]:
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


def _read(model: type[AnyModel], path: Path) -> AnyModel | None:
    return model.model_validate_json(path.read_bytes()) if path.exists() else None
