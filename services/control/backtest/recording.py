"""What was recorded of a stream, and how it would have been cut into windows under other triggers.

The rows are those that the windower kept; which ones are repetitions is not asked again. Orders of operators and
alarms of drift are not replayed: they belong to the windows that were.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.ingestor.triggers import Closing, Triggers, WindowCounts, not_trainable_because
from shared.archive import Archive, WindowRow
from shared.events import ClosedWindow, SetAsideRow, Side, Snapshot
from shared.settings import WindowSettings


@dataclass(frozen=True)
class Recording:
    """The rows of all recorded windows in the order of their offsets, and those set aside between them."""

    windows: tuple[ClosedWindow, ...]
    rows: tuple[WindowRow, ...]

    def reviews(self) -> Iterator[WindowRow | SetAsideRow]:
        """Every curated review in its order, kept or not."""
        reviews: list[WindowRow | SetAsideRow] = list(self.rows)
        reviews += (row for window in self.windows for row in window.set_aside)
        yield from sorted(reviews, key=lambda row: row.offset)


@dataclass(frozen=True)
class Era:
    """One window as a policy cuts it."""

    window: ClosedWindow
    rows: tuple[WindowRow, ...]

    def of(self, *sides: Side) -> list[WindowRow]:
        """The rows of these sides, in their order."""
        return [row for row in self.rows if row.side in sides]


def read_recording(windows: Sequence[ClosedWindow], archive: Archive) -> Recording:
    """Reads every window's snapshot, verified.

    Raises:
        SnapshotError: One is missing or altered.
    """
    ordered = tuple(sorted(windows, key=lambda window: window.sequence))
    return Recording(ordered, tuple(row for window in ordered for row in archive.read(window.snapshot)))


def cut(recording: Recording, settings: WindowSettings) -> list[Era]:
    """The windows that these triggers would have closed; what is left open at the end is none."""
    triggers, eras, open_window = Triggers(settings), list[Era](), _Open()
    labels = recording.windows[-1].label_names if recording.windows else ()
    for review in recording.reviews():
        # The clock stood at this review's publication when it arrived: a window too old by then had been closed.
        now = review.published_at if isinstance(review, WindowRow) else None
        for moment in (now, None):
            if closing := triggers.look(open_window.counts(len(labels)), moment):
                eras.append(_closed(open_window, closing, recording.windows[-1], len(eras), settings.min_rows))
                open_window = _Open()
        open_window.add(review)
    if closing := triggers.look(open_window.counts(len(labels)), None):
        eras.append(_closed(open_window, closing, recording.windows[-1], len(eras), settings.min_rows))
    return eras


@dataclass
class _Open:
    """The window that is being filled."""

    rows: list[WindowRow] = field(default_factory=list)
    set_aside: list[SetAsideRow] = field(default_factory=list)
    training: Counter[int] = field(default_factory=Counter)

    def add(self, review: WindowRow | SetAsideRow) -> None:
        if isinstance(review, SetAsideRow):
            self.set_aside.append(review)
            return
        self.rows.append(review)
        self.training[review.label] += review.side is Side.TRAIN

    def counts(self, classes: int) -> WindowCounts:
        return WindowCounts(
            reviews=len(self.rows) + len(self.set_aside),
            kept=len(self.rows),
            training=tuple(self.training[label] for label in range(classes)),
            oldest_published_at=self.oldest,
        )

    @property
    def oldest(self) -> datetime | None:
        """Of the kept rows; the manifests do not tell when the others were published."""
        return self.rows[0].published_at if self.rows else None

    @property
    def offsets(self) -> list[int]:
        return [*(row.offset for row in self.rows), *(row.offset for row in self.set_aside)]


def _closed(window: _Open, closing: Closing, recorded: ClosedWindow, sequence: int, min_rows: int) -> Era:
    sides, labels = Counter(row.side for row in window.rows), Counter(row.label for row in window.rows)
    reason = not_trainable_because(window.counts(len(recorded.label_names)), min_rows)
    times = [row.published_at for row in window.rows] or [recorded.first_published_at]
    first = min(window.offsets)
    manifest = ClosedWindow(
        window_id=f"w-{first:010d}",
        sequence=sequence,
        first_offset=first,
        last_offset=max(window.offsets),
        reviews=len(window.offsets),
        kept=len(window.rows),
        set_aside=tuple(window.set_aside),
        sides={side: sides[side] for side in Side},
        labels={name: labels[number] for number, name in enumerate(recorded.label_names)},
        sources=dict(Counter(row.source for row in window.rows if row.source is not None)),
        label_names=recorded.label_names,
        origins={},
        first_published_at=min(times),
        last_published_at=max(times),
        trigger=closing.trigger,
        trigger_detail=closing.detail,
        trainable=reason is None,
        not_trainable_because=reason,
        split=recorded.split,
        snapshot=_content(window.rows),
        closed_at=max(times),
    )
    return Era(manifest, tuple(window.rows))


def _content(rows: Sequence[WindowRow]) -> Snapshot:
    """Names the rows by their content; no file of that name is in any archive."""
    data = "\n".join(f"{row.offset} {row.label} {row.side} {row.text}" for row in rows).encode()
    return Snapshot(path="none", sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data) + 1)
