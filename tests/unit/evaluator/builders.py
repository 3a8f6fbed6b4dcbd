"""Events as the evaluator meets them, with everything that a test does not care about filled in."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.evaluator.challenge import REQUIRED_METRICS, Challenge, ProbeResult
from services.evaluator.comparison import Flips
from services.evaluator.exam import BASELINE, CHALLENGER, BoolArray, Contender, Exam, Measured, Model
from services.evaluator.guards import BrierLosses
from services.evaluator.pool import HeldOutRow, text_key
from services.evaluator.serving import Serving
from services.evaluator.suites import POOL
from shared.archive import WindowRow
from shared.events import (
    Candidate,
    CandidateStatus,
    ClosedWindow,
    Command,
    CommandKind,
    Decision,
    Score,
    Side,
    Snapshot,
    SplitRecord,
    Trigger,
    Verdict,
)
from shared.gate_settings import (
    AheadTermSettings,
    AnswersTermSettings,
    GateSettings,
    MetricsTermSettings,
    ProvenWorseTermSettings,
    SafeTermSettings,
)
from shared.lineage import Lineage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "d" * 64
LABELS = ("negative", "positive")
METRICS: dict[str, float | None] = dict.fromkeys(REQUIRED_METRICS, 0.5)

# What no policy may leave out, and nothing else.
CORE_POLICY = GateSettings(
    terms=(
        AnswersTermSettings(),
        MetricsTermSettings(),
        ProvenWorseTermSettings(),
        SafeTermSettings(),
        AheadTermSettings(),
    )
)


def window_id(sequence: int) -> str:
    return f"w-{1000 * sequence:010d}"


def window(sequence: int, **more: Any) -> ClosedWindow:
    fields = {
        "window_id": window_id(sequence),
        "sequence": sequence,
        "first_offset": 1000 * sequence,
        "last_offset": 1000 * sequence + 999,
        "reviews": 1000,
        "kept": 1000,
        "set_aside": (),
        "sides": {Side.TRAIN: 700, Side.HOLDOUT: 300},
        "labels": {"negative": 600, "positive": 400},
        "sources": {},
        "label_names": LABELS,
        "origins": {},
        "first_published_at": NOW,
        "last_published_at": NOW,
        "trigger": Trigger.COUNT,
        "trigger_detail": "1000 rows",
        "trainable": True,
        "split": SplitRecord(
            salt="s", holdout_share=300, calibration_share=0, validation_share=0, normaliser_version="1"
        ),
        "snapshot": Snapshot(path=f"windows/{window_id(sequence)}", sha256=DIGEST, size_bytes=1),
        "closed_at": NOW,
    }
    return ClosedWindow(**(fields | more))


def lineage(closed: ClosedWindow) -> Lineage:
    return Lineage(
        window_ids=(closed.window_id,),
        offset_ranges=((closed.first_offset, closed.last_offset),),
        snapshot_sha256s=(closed.snapshot.sha256,),
        base="tiny",
        base_digest=DIGEST,
        seed=0,
        labels=closed.label_names,
        normaliser_version="1",
        split=closed.split,
        model_digest=DIGEST,
        temperature=1.0,
        code_version="0",
        plan_sha256=DIGEST,
        newest_published_at=closed.last_published_at,
    )


def snapshot_row(offset: int, text: str, label: int = 0, side: Side = Side.HOLDOUT) -> WindowRow:
    return WindowRow(offset, str(offset), text, label, side, None, None, None, 0, offset, NOW, None)


def row(sequence: int, place: int, text: str | None = None, label: int = 0) -> HeldOutRow:
    text = text or f"review {sequence} {place}"
    return HeldOutRow(window_id(sequence), 1000 * sequence + place, text_key(text), text, label)


def exam(windows: Sequence[int], rows_each: int, *, newest: int, champion: bool = True, **more: Any) -> Exam:
    rows = tuple(row(sequence, place) for sequence in windows for place in range(rows_each))
    everywhere = np.ones(len(rows), np.bool_)
    fields = {
        "challenger": Contender(CHALLENGER, Model("2", "e" * 64), everywhere),
        "champion": Model("1", DIGEST) if champion else None,
        "window_id": window_id(newest),
        "own_windows": (window_id(newest),),
        "rows": rows,
        "label_counts": {},
        "since_promotion": ~everywhere,
    }
    return Exam(**(fields | more))


def measured(right: Mapping[str, BoolArray], metrics: dict[str, float] | None = None, **more: Any) -> Measured:
    """Answers of models that were all asked about all rows, and are alike but for whether they are right."""
    rows = len(right[CHALLENGER])
    right = {BASELINE: np.zeros(rows, np.bool_)} | dict(right)
    found = dict.fromkeys(REQUIRED_METRICS, 0.5) if metrics is None else metrics
    contenders = [role for role in right if role == CHALLENGER or role.startswith("waiting")]
    score = Score(model=CHALLENGER, rows_name=POOL, rows=rows, metrics=found)
    fields = {
        "probe": ProbeResult(True, 6, 6),
        "right": right,
        "answered": {role: np.ones(rows, np.bool_) for role in right},
        "scores": dict.fromkeys(contenders, (score,)),
        "new_answers": rows,
        "losses": {role: np.full(rows, 0.2) for role in right if role != BASELINE},
        "sizes": dict.fromkeys(right, 1000),
    }
    return Measured(**(fields | more))


def candidate(sequence: int, version: str | None = "1", **more: Any) -> Candidate:
    fields = {
        "window_id": window_id(sequence),
        "window_ids": (window_id(sequence),),
        "status": CandidateStatus.READY,
        "version": version,
        "run_id": f"run-{version}",
        "model_digest": DIGEST,
        "created_at": NOW,
    }
    return Candidate(**(fields | more))


def decision(number: int, verdict: Verdict, version: str | None, before: str | None, **more: Any) -> Decision:
    moves = verdict in (Verdict.PROMOTE, Verdict.ROLLBACK)
    fields = {
        "number": number,
        "version": version,
        "window_id": None if verdict is Verdict.ROLLBACK else window_id(number),
        "verdict": verdict,
        "reasons": ("because",),
        "champion_before": before,
        "champion_after": version if moves else before,
        "model_digest": DIGEST,
        "decided_at": NOW,
    }
    return Decision(**(fields | more))


def command(kind: CommandKind, target: str | None = None, command_id: str = "c1") -> Command:
    return Command(command_id=command_id, kind=kind, target=target, who="ann", why="it misbehaves", issued_at=NOW)


def challenge(flips: Flips, **more: Any) -> Challenge:
    """One in which everything was measured, and nothing but `flips` has anything to say."""
    fields = {
        "probe": ProbeResult(loaded=True, asked=3, answered=3),
        "flips": flips,
        "metrics": METRICS,
        "anchor": Flips(100, 40, 1_860),
        "baseline": Flips(300, 100, 1_600),
        "slices": {"label:negative": Flips(13, 12, 225), "label:positive": Flips(12, 13, 225)},
        "eras": {"0-4": Flips(8, 7, 185)},
        "losses": BrierLosses(np.full(500, 0.1), np.full(500, 0.1)),
        "size_ratio": 1.0,
        "latency_ratio": 1.0,
        "serving": Serving(compared=1000, disagreements=10, seconds=1.0, champion_seconds=1.0),
    }
    return Challenge(**(fields | more))
