"""Windows, plans and runs for the retrainer's tests."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from services.retrainer.plan import Hardware, NewWindow, Plan, StartPoint
from services.retrainer.runs import JobSetup, RunFolder, TrainingRow
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.events import (
    Candidate,
    CandidateStatus,
    ClosedWindow,
    Decision,
    Side,
    Snapshot,
    SplitRecord,
    Trigger,
    Verdict,
)
from shared.training_settings import TrainingSettings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHA = "a" * 64
SPLIT = SplitRecord(salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1")
ROWS_APART = 1000


def window_id(sequence: int) -> str:
    return f"w-{sequence * ROWS_APART:010d}"


def closed_window(sequence: int, train: int = 100, trainable: bool = True) -> ClosedWindow:
    first = sequence * ROWS_APART
    return ClosedWindow(
        window_id=window_id(sequence),
        sequence=sequence,
        first_offset=first,
        last_offset=first + max(train, 1) - 1,
        reviews=max(train, 1),
        kept=train,
        set_aside=(),
        sides={Side.TRAIN: train},
        labels={},
        sources={},
        label_names=("negative", "positive"),
        origins={},
        first_published_at=NOW,
        last_published_at=NOW,
        trigger=Trigger.COUNT,
        trigger_detail="enough",
        trainable=trainable,
        not_trainable_because=None if trainable else "one class only",
        split=SPLIT,
        snapshot=Snapshot(path=f"windows/{sequence}.parquet", sha256=SHA, size_bytes=1),
        closed_at=NOW,
    )


def candidate(sequence: int, status: CandidateStatus = CandidateStatus.READY, version: str | None = None) -> Candidate:
    return Candidate(
        window_id=window_id(sequence),
        window_ids=(window_id(sequence),),
        status=status,
        version=version,
        model_digest=SHA if version else None,
        created_at=NOW,
    )


def decision(
    sequence: int, verdict: Verdict, champion_after: str | None, quarantined: bool = False, number: int = 1
) -> Decision:
    return Decision(
        number=number,
        version=None,
        window_id=window_id(sequence),
        verdict=verdict,
        reasons=("numbers",),
        champion_before=None,
        champion_after=champion_after,
        quarantined=quarantined,
        decided_at=NOW,
    )


def tiny_plan(base: Path, rows: int, training: TrainingSettings, processes_seed: int = 3) -> Plan:
    return Plan(
        windows=(
            NewWindow(
                window_id=window_id(0),
                sequence=0,
                first_offset=0,
                last_offset=rows - 1,
                snapshot=Snapshot(path="windows/0.parquet", sha256=SHA, size_bytes=1),
                train_rows=rows,
            ),
        ),
        start=StartPoint(base="tiny", base_digest=model_digest(base)),
        training=training,
        hardware=Hardware(device="cpu", precision="fp32"),
        seed=processes_seed,
        labels=("negative", "positive"),
        split=SPLIT,
        newest_published_at=NOW,
        code_version="test",
        planned_at=NOW,
    )


def rows(count: int, start: int = 0) -> list[TrainingRow]:
    """Reviews that a tiny model can learn: the word says the label."""
    words = (("awful", "boring", "waste"), ("wonderful", "perfect", "fun"))
    return [
        TrainingRow(
            window_id=window_id(0),
            offset=start + place,
            text=f"the film was {words[place % 2][place % 3]} " + "and so on " * (place % 7),
            label=place % 2,
        )
        for place in range(count)
    ]


def tiny_run(
    folder: Path,
    cache: Path,
    training: TrainingSettings,
    train: Sequence[TrainingRow],
    held: Sequence[TrainingRow] = (),
) -> RunFolder:
    """A run folder that a job can work on."""
    base = open_base("tiny", cache)
    run = RunFolder(folder)
    run.write(run.plan_file, tiny_plan(base, len(train), training))
    run.write_rows("train", list(train))
    run.write_rows("calibration", list(held))
    run.write_rows("validation", list(held))
    run.write(run.setup_file, JobSetup(start_folders=(base,), threads=1))
    return run
