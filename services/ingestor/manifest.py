"""A window's manifest, made from the window as it was when it closed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from services.ingestor.open_window import OpenWindow, window_id
from services.ingestor.triggers import Closing, not_trainable_because
from shared.archive import WindowRow
from shared.events import ClosedWindow, Side, Snapshot, SplitRecord

LARGEST_SOURCES = 50


def build_manifest(
    window: OpenWindow,
    closing: Closing,
    snapshot: Snapshot,
    *,
    sequence: int,
    label_names: Sequence[str],
    split: SplitRecord,
    min_rows: int,
    closed_at: datetime,
) -> ClosedWindow:
    """Describes a non-empty window.

    Args:
        sequence: Its place among the stream's windows, 0 first.
        min_rows: Kept training rows that a trainable window needs.
    """
    kept, counts = list(window.kept()), window.counts()
    reason = not_trainable_because(counts, min_rows)
    oldest, newest = window.published or (closed_at, closed_at)
    return ClosedWindow(
        window_id=window_id(window.first_offset),
        sequence=sequence,
        first_offset=window.first_offset,
        last_offset=window.last_offset,
        reviews=counts.reviews,
        kept=counts.kept,
        set_aside=window.set_aside(),
        sides=_sides(kept),
        labels=_labels(kept, label_names),
        sources=_sources(kept),
        label_names=tuple(label_names),
        origins={str(partition): span for partition, span in sorted(window.origins.items())},
        first_published_at=oldest,
        last_published_at=newest,
        trigger=closing.trigger,
        trigger_detail=closing.detail,
        trainable=reason is None,
        not_trainable_because=reason,
        split=split,
        snapshot=snapshot,
        closed_at=closed_at,
        trace_parent=window.trace_parent,
    )


def _sides(kept: Sequence[WindowRow]) -> dict[Side, int]:
    found = Counter(row.side for row in kept)
    return {side: found[side] for side in Side}


def _labels(kept: Sequence[WindowRow], names: Sequence[str]) -> dict[str, int]:
    found = Counter(row.label for row in kept)
    return {name: found[number] for number, name in enumerate(names)}


def _sources(kept: Sequence[WindowRow]) -> dict[str, int]:
    """Rows by source; the largest, then 'other', so that a hostile publisher cannot make a manifest large."""
    found = Counter(row.source for row in kept if row.source is not None)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    largest, others = dict(ranked[:LARGEST_SOURCES]), sum(number for _, number in ranked[LARGEST_SOURCES:])
    return largest | {"other": largest.get("other", 0) + others} if others else largest
