"""A window's rows from the archive, or, where their snapshot is gone, from `reviews.curated` itself."""

from collections import Counter
from collections.abc import Iterable

import structlog

from shared.archive import Archive, WindowRow
from shared.envelope import decode
from shared.errors import SnapshotError, SnapshotMissingError
from shared.events import ClosedWindow, CuratedReview, Side, Snapshot
from shared.kafka import offset_range, read_range
from shared.settings import Settings
from shared.topics import REVIEWS_CURATED

log = structlog.get_logger("retrainer")
ROLE = "recovery"
PARTITION = 0  # of `reviews.curated`, which has only this one


class RecoveringArchive(Archive):
    """Reads as the archive does; a snapshot that is not there is made again from the topic while that holds it.

    An altered snapshot is refused as ever: who changed one file may have changed more.
    """

    def __init__(self, settings: Settings, windows: Iterable[ClosedWindow]) -> None:
        super().__init__(settings)
        self._settings = settings
        self._manifests = {window.snapshot.sha256: window for window in windows}
        self.recovered: list[str] = []

    def read(self, snapshot: Snapshot) -> list[WindowRow]:
        """The rows as `Archive.read` gives them.

        Raises:
            SnapshotError: The snapshot is altered, or it is gone and so are its offsets; or they hold other rows.
        """
        try:
            return super().read(snapshot)
        except SnapshotMissingError as error:
            window = self._manifests.get(snapshot.sha256)
            if window is None:
                raise
            rows = kept_rows(window, self._curated(window, error))
        self.recovered.append(window.window_id)
        log.warning("window_recovered", window_id=window.window_id, rows=len(rows), because=f"no {snapshot.path}")
        return rows

    def _curated(self, window: ClosedWindow, lost: SnapshotMissingError) -> list[tuple[int, CuratedReview]]:
        first, last = window.first_offset, window.last_offset
        oldest, end = offset_range(self._settings, REVIEWS_CURATED)[PARTITION]
        if not oldest <= first <= last < end:
            raise SnapshotError(
                f"window {window.window_id} is gone: {lost}; and of its offsets {first}-{last} in "
                f"{REVIEWS_CURATED.name}, the topic holds only {oldest}-{end - 1}"
            ) from lost
        records = read_range(self._settings, ROLE, REVIEWS_CURATED, PARTITION, first, last)
        return [(record.offset, decode(CuratedReview, record.value, record.where())) for record in records]


def kept_rows(window: ClosedWindow, reviews: Iterable[tuple[int, CuratedReview]]) -> list[WindowRow]:
    """The rows that the window kept, by its manifest's list of those set aside.

    Args: reviews: with their offsets, of the window's whole range.
    Raises: SnapshotError if the counts are not the manifest's: these are other reviews than the window was cut from.
    """
    found = list(reviews)
    set_aside = {row.offset for row in window.set_aside}
    rows = [WindowRow.of(offset, review) for offset, review in found if offset not in set_aside]
    expected, got = _counts_of(window), _counts(window, len(found), rows)
    wrong = [f"{name}: {got[name]} instead of {expected[name]}" for name in expected if got[name] != expected[name]]
    if wrong:
        raise SnapshotError(
            f"window {window.window_id}: offsets {window.first_offset}-{window.last_offset} hold other reviews than "
            f"those it was cut from ({'; '.join(wrong)}); restore {window.snapshot.path} from a copy"
        )
    return rows


def _counts_of(window: ClosedWindow) -> dict[str, int]:
    sides = {f"{side.value} rows": window.sides.get(side, 0) for side in Side}
    labels = {f"rows labelled {name}": window.labels.get(name, 0) for name in window.label_names}
    return {"reviews": window.reviews, "kept": window.kept} | sides | labels


def _counts(window: ClosedWindow, reviews: int, rows: list[WindowRow]) -> dict[str, int]:
    by_side, by_label = Counter(row.side for row in rows), Counter(row.label for row in rows)
    sides = {f"{side.value} rows": by_side[side] for side in Side}
    labels = {f"rows labelled {name}": by_label[number] for number, name in enumerate(window.label_names)}
    return {"reviews": reviews, "kept": len(rows)} | sides | labels
