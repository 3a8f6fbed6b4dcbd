"""Recorded streams for the backtest's tests."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from services.control.backtest.policy import Policy
from services.control.backtest.recording import Recording
from shared.archive import WindowRow
from shared.events import ClosedWindow, SetAside, SetAsideRow, Side, Snapshot, SplitRecord, Trigger
from shared.settings import CountTriggerSettings, GateSettings, TriggerSettings, WindowSettings
from shared.training_settings import TrainingSettings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LABELS = ("negative", "positive")
SPLIT = SplitRecord(salt="s", holdout_share=400, calibration_share=50, validation_share=50, normaliser_version="1")
# Four of ten rows are held out, so that a gate has something to look at.
SIDES = (*[Side.HOLDOUT] * 4, Side.CALIBRATION, Side.VALIDATION, *[Side.TRAIN] * 4)
WORDS = (("awful", "boring", "waste"), ("wonderful", "perfect", "fun"))


def row(offset: int, *, flipped: bool = False, seconds: float | None = None) -> WindowRow:
    """A review whose word says its label; labels alternate, sides change every two rows."""
    label = offset % 2
    return WindowRow(
        offset=offset,
        id=str(offset),
        text=f"film {offset} was {WORDS[label][offset // 2 % 3]}",
        label=1 - label if flipped else label,
        side=SIDES[offset // 2 % len(SIDES)],
        source="here",
        created_at=None,
        prediction_id=None,
        origin_partition=0,
        origin_offset=offset,
        published_at=NOW + timedelta(seconds=offset if seconds is None else seconds),
        signature=None,
    )


def recording(rows: Sequence[WindowRow], set_aside: Iterable[int] = ()) -> Recording:
    """All rows as one recorded window; a backtest cuts them anew."""
    aside = tuple(SetAsideRow(offset=offset, reason=SetAside.DUPLICATE) for offset in set_aside)
    last = max([*(each.offset for each in rows), *(each.offset for each in aside)])
    window = ClosedWindow(
        window_id="w-0000000000",
        sequence=0,
        first_offset=0,
        last_offset=last,
        reviews=len(rows) + len(aside),
        kept=len(rows),
        set_aside=aside,
        sides={},
        labels={},
        sources={},
        label_names=LABELS,
        origins={},
        first_published_at=NOW,
        last_published_at=NOW,
        trigger=Trigger.COUNT,
        trigger_detail="all",
        trainable=True,
        split=SPLIT,
        snapshot=Snapshot(path="windows/all.parquet", sha256="a" * 64, size_bytes=1),
        closed_at=NOW,
    )
    return Recording((window,), tuple(rows))


def windows_of(*triggers: TriggerSettings, min_rows: int = 2) -> WindowSettings:
    """When windows close."""
    return WindowSettings(triggers=triggers or (CountTriggerSettings(rows=100),), min_rows=min_rows)


def policy(name: str = "current", **training: object) -> Policy:
    """Windows of 100 rows, learned from the champion in ten epochs, so that a poisoned one is learned too."""
    settings = TrainingSettings(**({"epochs": 10, "start": "champion"} | training))  # type: ignore[arg-type]
    return Policy(name=name, window=windows_of(), training=settings, gate=GateSettings(baseline="majority"))
