"""Compares one kind of windows with the reviews that they were cut from: each must be in one window, or none yet."""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from shared.errors import SnapshotError
from shared.events import ClosedWindow, SetAside, UnlabeledWindow

EXAMPLES = 5

Window = ClosedWindow | UnlabeledWindow
KeptOffsets = Callable[[Window], Sequence[int]]
"""The offsets of a window's rows by its verified snapshot; raises SnapshotError."""


class WindowAudit:
    """The windows of one topic of reviews, in the order of their manifests."""

    def __init__(self, reviews: str, windows: Sequence[Window]) -> None:
        """Args: reviews: what they hold, in words."""
        self._reviews, self._windows = reviews, windows
        self._offsets = array("q")

    def add(self, offset: int) -> None:
        """Notes the topic's next review."""
        self._offsets.append(offset)

    @property
    def windowed(self) -> int:
        """Reviews in windows."""
        return sum(window.reviews for window in self._windows)

    @property
    def kept(self) -> int:
        """Of these, not set aside."""
        return sum(window.kept for window in self._windows)

    @property
    def set_aside(self) -> dict[SetAside, int]:
        """The others, by reason."""
        found = Counter(row.reason for window in self._windows for row in window.set_aside)
        return {reason: found[reason] for reason in SetAside}

    @property
    def open(self) -> int:
        """Reviews after the last window."""
        after = self._windows[-1].last_offset if self._windows else -1
        return len(self._offsets) - bisect_right(self._offsets, after)

    def problems(self, kept_offsets: KeptOffsets) -> Iterator[str]:
        """What is wrong; called when all reviews are noted."""
        yield from self._order_problems()
        for window in self._windows:
            yield from self._window_problems(window, kept_offsets)

    def _order_problems(self) -> Iterator[str]:
        """Windows must follow each other without a gap, an overlap or a review in between."""
        for number, window in enumerate(self._windows):
            if window.sequence != number:
                yield f"window {window.window_id} has sequence {window.sequence}, and is number {number} of the topic"
        if self._windows and (before := bisect_left(self._offsets, self._windows[0].first_offset)):
            yield f"{before} {self._reviews} lie before the first window"
        for earlier, later in pairwise(self._windows):
            if later.first_offset <= earlier.last_offset:
                yield f"windows {earlier.window_id} and {later.window_id} overlap"
            elif between := self._between(earlier.last_offset + 1, later.first_offset - 1):
                yield f"{len(between)} {self._reviews} lie between {earlier.window_id} and {later.window_id}"

    def _window_problems(self, window: Window, kept_offsets: KeptOffsets) -> Iterator[str]:
        """A window's rows, kept and set aside, must be exactly the reviews of its range."""
        try:
            kept = list(kept_offsets(window))
        except SnapshotError as error:
            yield f"window {window.window_id}: {error}"
            return
        found = sorted([*kept, *(row.offset for row in window.set_aside)])
        if (len(kept), len(found)) != (window.kept, window.reviews):
            yield (
                f"window {window.window_id} says {window.kept} kept of {window.reviews}, "
                f"and holds {len(kept)} of {len(found)}"
            )
        # What retention took from the topic can no longer be compared; the manifest and the snapshot still are.
        oldest = self._offsets[0] if self._offsets else window.last_offset + 1
        expected = self._between(window.first_offset, window.last_offset)
        if list(expected) != [offset for offset in found if offset >= oldest]:
            differing = sorted(set(expected).symmetric_difference(found)) or found
            yield f"window {window.window_id} does not hold the {self._reviews} of its range: {some(differing)}"

    def _between(self, first: int, last: int) -> Sequence[int]:
        return self._offsets[bisect_left(self._offsets, first) : bisect_right(self._offsets, last)]


def some(found: Sequence[object]) -> str:
    """The first few of them."""
    return ", ".join(map(str, found[:EXAMPLES])) + (", …" if len(found) > EXAMPLES else "")
