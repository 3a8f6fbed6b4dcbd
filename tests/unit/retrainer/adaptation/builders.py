"""Windows of unlabelled text, plans and runs of adaptations for the tests."""

from pathlib import Path

from services.retrainer.adaptation.folder import PROBE, TRAIN, VALIDATION, AdaptationFolder, TextRow
from services.retrainer.adaptation.plan import AdaptationPlan, ProbeWindow, TextWindow
from services.retrainer.plan import Hardware, StartPoint
from services.retrainer.runs import JobSetup
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.events import (
    BaseCandidate,
    BaseDecision,
    CandidateStatus,
    Side,
    Snapshot,
    Trigger,
    UnlabeledWindow,
    Verdict,
)
from shared.training_settings import AdaptationSettings, TrainingSettings
from tests.unit.retrainer.builders import NOW, ROWS_APART, SHA, SPLIT, rows, window_id

TRAINING = TrainingSettings(epochs=2, learning_rate=5e-3, checkpoint_steps=4, log_steps=2, batch_rows=16)
ADAPTATION = AdaptationSettings(epochs=3, head_epochs=2, learning_rate=5e-3, head_learning_rate=5e-3, mask_share=0.3)
SUBJECTS = ("film", "movie", "story", "plot", "scene", "music")
WORDS = ("boring", "wonderful", "fun", "slow", "terrible", "perfect", "stupid")


def text_id(sequence: int) -> str:
    return f"u-{sequence * ROWS_APART:010d}"


def unlabeled_window(sequence: int, train: int = 100) -> UnlabeledWindow:
    first = sequence * ROWS_APART
    return UnlabeledWindow(
        window_id=text_id(sequence),
        sequence=sequence,
        first_offset=first,
        last_offset=first + max(train, 1) - 1,
        reviews=max(train, 1),
        kept=train,
        set_aside=(),
        sides={Side.TRAIN: train},
        sources={},
        origins={},
        first_published_at=NOW,
        last_published_at=NOW,
        trigger=Trigger.COUNT,
        trigger_detail="enough",
        split=SPLIT,
        snapshot=Snapshot(path=f"unlabeled/{sequence}.parquet", sha256=SHA, size_bytes=1),
        closed_at=NOW,
    )


def base_candidate(sequence: int, version: str | None = None, root: str = SHA) -> BaseCandidate:
    return BaseCandidate(
        window_id=text_id(sequence),
        window_ids=(text_id(sequence),),
        status=CandidateStatus.READY if version else CandidateStatus.FAILED,
        version=version,
        model_digest=SHA if version else None,
        base_digest=root if version else None,
        created_at=NOW,
    )


def base_decision(sequence: int, version: str | None, verdict: Verdict, after: str | None) -> BaseDecision:
    return BaseDecision.model_validate(
        {
            "number": sequence + 1,
            "version": version,
            "window_id": text_id(sequence),
            "verdict": verdict,
            "reasons": ("numbers",),
            "base_before": None,
            "base_after": after,
            "decided_at": NOW,
        }
    )


def texts(count: int, start: int = 0) -> list[TextRow]:
    """A language of few sentences, so that a tiny model learns to guess their words."""
    return [
        TextRow(
            window_id=text_id(0),
            offset=start + place,
            text=f"the {SUBJECTS[place % 6]} was {WORDS[place % 7]} and so was the {SUBJECTS[place % 6]} "
            + "again and " * (place % 5),
        )
        for place in range(count)
    ]


def adaptation_plan(
    base: Path, train: int, training: TrainingSettings = TRAINING, adaptation: AdaptationSettings = ADAPTATION
) -> AdaptationPlan:
    snapshot = Snapshot(path="windows/0.parquet", sha256=SHA, size_bytes=1)
    facts = {"sequence": 0, "first_offset": 0, "last_offset": 999, "snapshot": snapshot}
    return AdaptationPlan(
        windows=(TextWindow(window_id=text_id(0), train_rows=train, **facts),),
        probe=(ProbeWindow(window_id=window_id(0), train_rows=2, offsets=(0, 1), **facts),),
        start=StartPoint(base="tiny", base_digest=model_digest(base)),
        adaptation=adaptation,
        training=training,
        hardware=Hardware(device="cpu", precision="fp32"),
        seed=3,
        labels=("negative", "positive"),
        split=SPLIT,
        newest_published_at=NOW,
        code_version="test",
        planned_at=NOW,
    )


def adaptation_run(
    folder: Path,
    cache: Path,
    *,
    base: Path | None = None,
    train: int = 96,
    training: TrainingSettings = TRAINING,
    adaptation: AdaptationSettings = ADAPTATION,
) -> AdaptationFolder:
    """A run folder that the job can work on."""
    start = base or open_base("tiny", cache)
    run = AdaptationFolder(folder)
    run.write(run.plan_file, adaptation_plan(start, train, training, adaptation))
    run.write_rows(TRAIN, texts(train))
    run.write_rows(VALIDATION, texts(24, start=train))
    run.write_rows(PROBE, rows(48))
    run.write(run.setup_file, JobSetup(start_folders=(start,), threads=1))
    return run
