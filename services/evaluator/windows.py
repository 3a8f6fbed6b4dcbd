"""What the evaluator knows of closed windows: their manifests, and their held-out rows from the archive."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from services.evaluator.eras import era_rows, eras_of
from services.evaluator.pool import (
    HeldOutRow,
    eligible,
    first_rows_after,
    first_windows_after,
    held_out,
    latest_rows,
    rows_since_birth,
)
from shared.archive import WindowRow
from shared.envelope import decode
from shared.errors import SnapshotError, UnreadableRecordError
from shared.events import ClosedWindow, Side, Snapshot
from shared.gate_settings import EraSettings, GateSettings
from shared.kafka import Record
from shared.rebuilds import LeftOut

log = structlog.get_logger("windows")

BoolArray = NDArray[np.bool_]
NOTHING = LeftOut()


class Snapshots(Protocol):
    """Where windows' rows are read from."""

    def read(self, snapshot: Snapshot) -> list[WindowRow]:
        """Verified rows; SnapshotError if missing or altered."""


class Manifests(Protocol):
    """Where manifests are read from."""

    def catch_up(self) -> Iterator[Record]:
        """Everything new up to now."""


@dataclass(frozen=True, slots=True)
class TrialRows:
    """The rows of one sitting, and what could not be read for them.

    Attributes:
        rows: All of them, each text once, in the order of the stream.
        deciding: Birth window -> keys of the rows that decide about a challenger born with it.
        since_promotion: Keys of the rows that arrived after the champion's promotion.
        eras: Era -> keys of its frozen rows.
        left_out: How many rows decide about nobody, because somebody on trial was rebuilt without them.
    """

    rows: tuple[HeldOutRow, ...]
    deciding: dict[str, frozenset[str]]
    since_promotion: frozenset[str]
    eras: dict[str, frozenset[str]]
    label_counts: dict[str, int]
    unreadable: tuple[str, ...]
    left_out: int = 0

    def mask(self, keys: Collection[str]) -> BoolArray:
        """(n,) whether each row is one of these."""
        return np.array([row.key in keys for row in self.rows], np.bool_)


@dataclass(frozen=True, slots=True)
class LatestRows:
    """The newest held-out rows, each text once, in the order of the stream; and windows that could not be read."""

    rows: tuple[HeldOutRow, ...]
    unreadable: tuple[str, ...]


class WindowBook:
    """All manifests, and the hold-outs of the last sitting, so that a snapshot is read once."""

    def __init__(self, manifests: Manifests, archive: Snapshots) -> None:
        self._manifests, self._archive = manifests, archive
        self._windows: dict[str, ClosedWindow] = {}
        self._hold_outs: dict[str, tuple[HeldOutRow, ...]] = {}
        self._era_rows: dict[tuple[LeftOut, tuple[str, ...]], tuple[HeldOutRow, ...]] = {}

    def refresh(self) -> None:
        """Reads the manifests that are new."""
        for record in self._manifests.catch_up():
            try:
                window = decode(ClosedWindow, record.value, record.where())
            except UnreadableRecordError as error:
                # Only our own windower writes this topic, but one stray record must not stop all decisions.
                log.error("record_passed_over", error=str(error))
                continue
            self._windows[window.window_id] = window

    def knows(self, window_id: str) -> bool:
        """Whether the window was closed."""
        return window_id in self._windows

    def find(self, window_id: str) -> ClosedWindow | None:
        """The window's manifest, if it was closed."""
        return self._windows.get(window_id)

    def newest_trusted(self, seen: Collection[str], quarantined: Collection[str]) -> str | None:
        """The newest window that nobody distrusts, up to the newest of those seen; names of others are passed over."""
        last = max((self._windows[name].sequence for name in seen if name in self._windows), default=-1)
        trusted = (window for window in self._windows.values() if window.window_id not in quarantined)
        upto = [window for window in trusted if window.sequence <= last]
        return max(upto, key=lambda window: window.sequence).window_id if upto else None

    def snapshots(self) -> dict[str, str]:
        """Window id -> SHA-256 of its snapshot."""
        return {window_id: window.snapshot.sha256 for window_id, window in self._windows.items()}

    def latest(
        self, newest_window_id: str, quarantined: Collection[str], size: int, without: LeftOut = NOTHING
    ) -> LatestRows:
        """The newest `size` held-out rows up to a window, none of them of a window that somebody distrusts.

        Args: without: Rows that decide about nobody.
        Raises: ArchiveUnavailableError if the archive could not be read.
        """
        windows = eligible(self._windows.values(), newest_window_id, quarantined)
        trusted = [window for window in windows if window.window_id not in quarantined]
        reading = _Reading(self._archive, {}, without)
        return LatestRows(latest_rows(map(reading.glance, trusted), size), tuple(reading.unreadable))

    def rows_on_trial(
        self,
        newest_window_id: str,
        quarantined: Collection[str],
        *,
        births: Collection[str],
        promotion: str | None,
        gate: GateSettings,
        without: LeftOut = NOTHING,
    ) -> TrialRows:
        """The rows as of a window; a snapshot that is missing or altered is left out and named.

        Args:
            births: Windows with which the challengers on trial were born, the newest among them.
            promotion: The newest window that the gate had looked at when it promoted the champion, if there is one.
            gate: How many rows of each kind.
            without: Rows that decide about nobody.

        Raises: ArchiveUnavailableError if the archive could not be read.
        """
        windows = eligible(self._windows.values(), newest_window_id, quarantined)
        reading = _Reading(self._archive, self._hold_outs, without)
        promoted = self._windows[promotion].sequence if promotion in self._windows else None
        after = () if promoted is None else first_windows_after(windows, promoted, gate.anchor_rows)
        held = reading.enough(windows, min(self._windows[birth].sequence for birth in births), gate.pool_rows, after)
        deciding = {birth: rows_since_birth(held, self._windows[birth].sequence, gate.pool_rows) for birth in births}
        since = {} if promoted is None else first_rows_after(held, promoted, gate.anchor_rows)
        # Eras judge a successor; while there is no champion nothing can be forgotten.
        eras = {} if promoted is None else self._frozen(newest_window_id, quarantined, gate.eras, reading)
        self._hold_outs = reading.used
        return TrialRows(
            rows=_in_order((*deciding.values(), since, *eras.values())),
            deciding={birth: frozenset(rows) for birth, rows in deciding.items()},
            since_promotion=frozenset(since),
            eras={name: frozenset(rows) for name, rows in eras.items()},
            label_counts=_label_counts(windows),
            unreadable=tuple(reading.unreadable),
            left_out=reading.left_out,
        )

    def _frozen(
        self, newest_window_id: str, quarantined: Collection[str], settings: EraSettings, reading: "_Reading"
    ) -> dict[str, dict[str, HeldOutRow]]:
        """Era -> its rows by key. They are frozen, so those that are known are not read again."""
        eras = eras_of(self._windows.values(), newest_window_id, quarantined, settings)
        kept: dict[tuple[LeftOut, tuple[str, ...]], tuple[HeldOutRow, ...]] = {}
        found: dict[str, dict[str, HeldOutRow]] = {}
        for name, windows in eras.items():
            members = reading.without, tuple(window.window_id for window in windows)
            rows = self._era_rows.get(members) or era_rows((reading.glance(each) for each in windows), settings.rows)
            kept[members], found[name] = rows, {row.key: row for row in rows}
        self._era_rows = kept
        return found


class _Reading:
    """Hold-outs for one sitting: those that the last one had are not read again."""

    def __init__(self, archive: Snapshots, known: Mapping[str, tuple[HeldOutRow, ...]], without: LeftOut) -> None:
        self._archive, self._known, self.without = archive, known, without
        self.used: dict[str, tuple[HeldOutRow, ...]] = {}
        self.left_out = 0
        self.unreadable: list[str] = []

    def enough(
        self, newest_first: Sequence[ClosedWindow], oldest_birth: int, pool_rows: int, wanted: Collection[str]
    ) -> list[tuple[ClosedWindow, tuple[HeldOutRow, ...]]]:
        """Windows with hold-outs, the newest first: until the oldest pool is complete, and those wanted anyway."""
        found: list[tuple[ClosedWindow, tuple[HeldOutRow, ...]]] = []
        in_pool: set[str] = set()
        for window in newest_first:
            if len(in_pool) >= pool_rows and window.window_id not in wanted:
                continue
            self.used[window.window_id] = held = self._hold_out(window)
            rows = self._deciding(held)
            self.left_out += len(held) - len(rows)
            found.append((window, rows))
            if window.sequence <= oldest_birth:
                in_pool.update(row.key for row in rows)
        return found

    def glance(self, window: ClosedWindow) -> tuple[HeldOutRow, ...]:
        """What may decide of a window's hold-out; empty if it has none or its snapshot is lost."""
        return self._deciding(self._hold_out(window))

    def _deciding(self, rows: tuple[HeldOutRow, ...]) -> tuple[HeldOutRow, ...]:
        return tuple(row for row in rows if (row.offset, row.source) not in self.without)

    def _hold_out(self, window: ClosedWindow) -> tuple[HeldOutRow, ...]:
        if not window.sides.get(Side.HOLDOUT):
            return ()
        try:
            rows = self._known.get(window.window_id) or held_out(window.window_id, self._archive.read(window.snapshot))
        except SnapshotError as error:
            log.error("window_left_out", window_id=window.window_id, error=str(error))
            self.unreadable.append(window.window_id)
            return ()
        return rows


def _in_order(parts: Iterable[Mapping[str, HeldOutRow]]) -> tuple[HeldOutRow, ...]:
    """All rows, each text once; of copies in several windows, the latest."""
    rows = sorted((row for part in parts for row in part.values()), key=lambda row: row.offset)
    return tuple(sorted({row.key: row for row in rows}.values(), key=lambda row: row.offset))


def _label_counts(windows: Sequence[ClosedWindow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for window in windows:
        for label, rows in window.labels.items():
            counts[label] = counts.get(label, 0) + rows
    return counts
