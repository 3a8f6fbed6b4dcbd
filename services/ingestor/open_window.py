"""The open window: the only owner of what has been read of a topic of reviews and is in no closed window yet.

Its state follows from the reviews and their order alone, so re-reading the range from its first offset rebuilds it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

from services.ingestor.kinds import Kind
from services.ingestor.triggers import WindowCounts
from shared.archive import UnlabeledRow, WindowRow
from shared.errors import LedgerCorruptError
from shared.events import ClosedWindow, SetAside, SetAsideRow, Side, UnlabeledWindow

Row = TypeVar("Row", bound=WindowRow | UnlabeledRow)


class OpenWindow(Generic[Row]):
    """Rows in the order of their offsets, kept or set aside. Bounded by the caller, who closes it at `max_rows`."""

    def __init__(
        self, kind: Kind[Any, Any], after: ClosedWindow | UnlabeledWindow | None = None, classes: int = 0
    ) -> None:
        """Begins an empty window.

        Args:
            after: The window that was closed before it; None: it is the stream's first.
            classes: How many labels its rows may have; 0 for unlabelled text.
        """
        self._kind = kind
        self.sequence = after.sequence + 1 if after else 0
        self._after = after.last_offset if after else -1
        self._rows: list[Row | None] = []  # by number in the window; None where set aside
        self._set_aside: list[tuple[int, SetAside]] = []
        self._training = [0] * classes
        self._kept = 0
        self._first_offset = self._last_offset = -1
        self._published: tuple[datetime, datetime] | None = None
        self._origins: dict[int, tuple[int, int]] = {}
        self.trace_parent: str | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def window_id(self) -> str:
        """By the first offset. The window must not be empty."""
        return f"{self._kind.prefix}-{self._first_offset:010d}"

    @property
    def first_offset(self) -> int:
        """Offset of the first review. The window must not be empty."""
        return self._first_offset

    @property
    def last_offset(self) -> int:
        """Offset of the last review. The window must not be empty."""
        return self._last_offset

    @property
    def published(self) -> tuple[datetime, datetime] | None:
        """(oldest, newest) broker time; None while empty."""
        return self._published

    @property
    def origins(self) -> dict[int, tuple[int, int]]:
        """Partition of `reviews.labeled` -> (lowest, highest) offset, of rows set aside too."""
        return dict(self._origins)

    def add(self, row: Row, set_aside: SetAside | None, overturned: int | None = None) -> None:
        """Takes the next review.

        Args:
            set_aside: Why it is not kept; None keeps it.
            overturned: Number in this window of an earlier, kept row that is to be set aside for the same reason.

        Raises:
            LedgerCorruptError: It is in a closed window already, or offsets do not rise: it would count twice.
        """
        topic = self._kind.reviews.name
        if row.offset <= self._after:
            raise LedgerCorruptError(f"{topic}@{row.offset} is in a closed window, which ends at {self._after}")
        if row.offset <= self._last_offset:
            raise LedgerCorruptError(f"{topic} gave offset {row.offset} after {self._last_offset}; restart")
        if not self._rows:
            self._first_offset = row.offset
        self._last_offset = row.offset
        self._rows.append(row)
        self._note(row)
        if set_aside is not None:
            self._put_aside(len(self._rows) - 1, set_aside)
            if overturned is not None:
                self._put_aside(overturned, set_aside)

    def _note(self, row: Row) -> None:
        at, offset = row.published_at, row.origin_offset
        oldest, newest = self._published or (at, at)
        self._published = (min(oldest, at), max(newest, at))
        lowest, highest = self._origins.get(row.origin_partition, (offset, offset))
        self._origins[row.origin_partition] = (min(lowest, offset), max(highest, offset))
        self._count(row, 1)

    def _put_aside(self, number: int, reason: SetAside) -> None:
        row = self._rows[number]
        if row is None:
            raise LedgerCorruptError(f"row {number} of {self.window_id} was set aside twice")
        self._rows[number] = None
        self._set_aside.append((row.offset, reason))
        self._count(row, -1)

    def _count(self, row: Row, one: int) -> None:
        self._kept += one
        if isinstance(row, WindowRow) and row.side is Side.TRAIN:
            self._training[row.label] += one

    def counts(self) -> WindowCounts:
        """What the triggers look at."""
        oldest = self._published[0] if self._published else None
        return WindowCounts(len(self._rows), self._kept, tuple(self._training), oldest)

    def kept(self) -> Iterator[Row]:
        """The rows that are not set aside, in the order of offsets."""
        return (row for row in self._rows if row is not None)

    def set_aside(self) -> tuple[SetAsideRow, ...]:
        """The others, in the order of offsets."""
        return tuple(SetAsideRow(offset=offset, reason=reason) for offset, reason in sorted(self._set_aside))
