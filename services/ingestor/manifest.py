"""A window's manifest, made from the window as it was when it closed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.ingestor.open_window import OpenWindow
from services.ingestor.triggers import Closing, not_trainable_because
from shared.archive import UnlabeledRow, WindowRow
from shared.events import ClosedWindow, Side, Snapshot, SplitRecord, UnlabeledWindow

LARGEST_SOURCES = 50


def build_manifest(
    window: OpenWindow[WindowRow],
    closing: Closing,
    snapshot: Snapshot,
    *,
    label_names: Sequence[str],
    split: SplitRecord,
    min_rows: int,
    closed_at: datetime,
) -> ClosedWindow:
    """Describes a non-empty window of labelled reviews.

    Args: min_rows: kept training rows that a trainable window needs.
    """
    reason = not_trainable_because(window.counts(), min_rows)
    return ClosedWindow(
        labels=_labels(list(window.kept()), label_names),
        label_names=tuple(label_names),
        trainable=reason is None,
        not_trainable_because=reason,
        **_of_any_kind(window, closing, snapshot, split, closed_at),
    )


def build_unlabeled_manifest(
    window: OpenWindow[UnlabeledRow], closing: Closing, snapshot: Snapshot, *, split: SplitRecord, closed_at: datetime
) -> UnlabeledWindow:
    """Describes a non-empty window of unlabelled text."""
    return UnlabeledWindow(**_of_any_kind(window, closing, snapshot, split, closed_at))


def _of_any_kind(
    window: OpenWindow[WindowRow] | OpenWindow[UnlabeledRow],
    closing: Closing,
    snapshot: Snapshot,
    split: SplitRecord,
    closed_at: datetime,
) -> dict[str, Any]:
    """The fields that manifests of both kinds have."""
    kept: list[WindowRow | UnlabeledRow] = list(window.kept())
    counts = window.counts()
    oldest, newest = window.published or (closed_at, closed_at)
    return {
        "window_id": window.window_id,
        "sequence": window.sequence,
        "first_offset": window.first_offset,
        "last_offset": window.last_offset,
        "reviews": counts.reviews,
        "kept": counts.kept,
        "set_aside": window.set_aside(),
        "sides": _sides(kept),
        "sources": _sources(kept),
        "origins": {str(partition): span for partition, span in sorted(window.origins.items())},
        "first_published_at": oldest,
        "last_published_at": newest,
        "trigger": closing.trigger,
        "trigger_detail": closing.detail,
        "split": split,
        "snapshot": snapshot,
        "closed_at": closed_at,
        "trace_parent": window.trace_parent,
    }


def _sides(kept: Sequence[WindowRow | UnlabeledRow]) -> dict[Side, int]:
    found = Counter(row.side for row in kept)
    return {side: found[side] for side in Side}


def _labels(kept: Sequence[WindowRow], names: Sequence[str]) -> dict[str, int]:
    found = Counter(row.label for row in kept)
    return {name: found[number] for number, name in enumerate(names)}


def _sources(kept: Sequence[WindowRow | UnlabeledRow]) -> dict[str, int]:
    """Rows by source; the largest, then 'other', so that a hostile publisher cannot make a manifest large."""
    found = Counter(row.source for row in kept if row.source is not None)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    largest, others = dict(ranked[:LARGEST_SOURCES]), sum(number for _, number in ranked[LARGEST_SOURCES:])
    return largest | {"other": largest.get("other", 0) + others} if others else largest
