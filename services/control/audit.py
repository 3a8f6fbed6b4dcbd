"""Proves the accounting from the topics: every published review in one outcome, every curated one in one window.

Records are counted by their origin, never by differences of offsets: transaction markers take offsets too.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from shared.archive import Archive
from shared.envelope import decode
from shared.errors import LedgerCorruptError, SnapshotError, UnreadableRecordError
from shared.events import ClosedWindow, SetAside
from shared.kafka import Admin, Record, iterate_topic
from shared.metrics import ReviewOutcome
from shared.provenance import read_origin
from shared.settings import Settings
from shared.topics import REVIEWS_CURATED, REVIEWS_LABELED, REVIEWS_REJECTED, REVIEWS_UNLABELED, WINDOWS_CLOSED, Topic

OUTCOME_TOPICS: dict[ReviewOutcome, Topic] = {
    ReviewOutcome.CURATED: REVIEWS_CURATED,
    ReviewOutcome.UNLABELED: REVIEWS_UNLABELED,
    ReviewOutcome.REJECTED: REVIEWS_REJECTED,
}
CURATOR_GROUP = "curator"
EXAMPLES = 5
_ABSENT, _WRITTEN, _ACCOUNTED = 0, 1, 2


class Output(NamedTuple):
    """One record that a curator wrote: its own offset, and its origin in `reviews.labeled`."""

    outcome: ReviewOutcome
    offset: int
    partition: int
    origin_offset: int


class Stray(NamedTuple):
    """A record that is none of ours; `why` names it and says what is wrong with it."""

    why: str


class AuditReport(BaseModel):
    """Where every review is. `ok` only if none is unaccounted for or doubled and no window is damaged.

    published = curated + unlabeled + rejected + waiting + unaccounted, as long as retention has taken nothing;
    curated = windowed + open; windowed = kept + everything set aside.
    """

    model_config = ConfigDict(frozen=True)
    published: int
    curated: int
    unlabeled: int
    rejected: int
    windowed: int
    kept: int
    set_aside: dict[SetAside, int]
    open: int
    waiting: int
    """Published, and not yet read by a curator."""
    unaccounted: int
    """Read by a curator, and in none of its outputs."""
    doubled: int
    """Outputs beyond the first of one published record."""
    problems: tuple[str, ...]
    ok: bool


class _Origins:
    """Which published records have outputs: one byte for each offset."""

    def __init__(self) -> None:
        self._marks: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._oldest: dict[int, int] = {}
        self.doubled: list[str] = []
        self.unaccounted: list[str] = []
        self.published = self.waiting = 0

    def write(self, partition: int, offset: int) -> None:
        """Notes an output's origin."""
        marks = self._marks[partition]
        if offset >= len(marks):
            marks.extend(bytes(offset + 1 - len(marks)))
        if marks[offset] != _ABSENT:
            self.doubled.append(f"{partition}:{offset}")
        marks[offset] = _WRITTEN

    def publish(self, partition: int, offset: int, read: int) -> None:
        """Looks a published record up among the outputs; `read` is the curators' position in its partition."""
        self.published += 1
        self._oldest.setdefault(partition, offset)
        marks = self._marks[partition]
        if offset < len(marks) and marks[offset] != _ABSENT:
            marks[offset] = _ACCOUNTED
        elif offset < read:
            self.unaccounted.append(f"{partition}:{offset}")
        else:
            self.waiting += 1

    def invented(self) -> list[str]:
        """Outputs of records that are not there, those apart that retention may have taken."""
        return [
            f"{partition}:{offset}"
            for partition, marks in self._marks.items()
            if partition in self._oldest
            for offset in range(self._oldest[partition], len(marks))
            if marks[offset] == _WRITTEN
        ]


def audit(
    outputs: Iterable[Output | Stray],
    published: Iterable[tuple[int, int]],
    committed: Mapping[int, int],
    manifests: Sequence[ClosedWindow | Stray],
    kept_offsets: Callable[[ClosedWindow], Sequence[int]],
) -> AuditReport:
    """Accounts for every review.

    While services run, read in this order and each after the one before: `committed`, `manifests`, `outputs`,
    `published`; then nothing that is merely on its way looks lost.

    Args:
        outputs: Of the curator, each topic in the order of offsets, `reviews.curated` first.
        published: (partition, offset) of each record of `reviews.labeled`, by partition in order. Read last.
        committed: The curators' position in each partition of `reviews.labeled`.
        manifests: In the order of `windows.closed`.
        kept_offsets: Offsets of a window's rows by its verified snapshot; raises SnapshotError.
    """
    origins, counts, curated = _Origins(), Counter[ReviewOutcome](), array("q")
    windows = [manifest for manifest in manifests if isinstance(manifest, ClosedWindow)]
    strays = [manifest.why for manifest in manifests if isinstance(manifest, Stray)]
    reached = Counter(committed)
    for output in outputs:
        if isinstance(output, Stray):
            strays.append(output.why)
            continue
        counts[output.outcome] += 1
        origins.write(output.partition, output.origin_offset)
        if output.outcome is ReviewOutcome.CURATED:
            curated.append(output.offset)
            # The group's positions may be gone, e.g. expired. Only of the topic that is read first: what curators
            # committed since then is in later topics alone, and its neighbours would look lost.
            reached[output.partition] = max(reached[output.partition], output.origin_offset + 1)
    for partition, offset in published:
        origins.publish(partition, offset, reached[partition])
    problems = [*strays, *_origin_problems(origins), *_order_problems(windows, curated)]
    for window in windows:
        problems += _window_problems(window, curated, kept_offsets)
    set_aside = Counter(row.reason for window in windows for row in window.set_aside)
    after = windows[-1].last_offset if windows else -1
    return AuditReport(
        published=origins.published,
        curated=counts[ReviewOutcome.CURATED],
        unlabeled=counts[ReviewOutcome.UNLABELED],
        rejected=counts[ReviewOutcome.REJECTED],
        windowed=sum(window.reviews for window in windows),
        kept=sum(window.kept for window in windows),
        set_aside={reason: set_aside[reason] for reason in SetAside},
        open=len(curated) - bisect_right(curated, after),
        waiting=origins.waiting,
        unaccounted=len(origins.unaccounted),
        doubled=len(origins.doubled),
        problems=tuple(problems),
        ok=not problems,
    )


def _origin_problems(origins: _Origins) -> Iterator[str]:
    for what, found in (
        ("published reviews are in no output", origins.unaccounted),
        ("outputs repeat a published review", origins.doubled),
        ("outputs name a review that was never published", origins.invented()),
    ):
        if found:
            yield f"{len(found)} {what}: {_some(found)}"


def _order_problems(windows: Sequence[ClosedWindow], curated: Sequence[int]) -> Iterator[str]:
    """Windows must follow each other without a gap, an overlap or a curated review in between."""
    for number, window in enumerate(windows):
        if window.sequence != number:
            yield f"window {window.window_id} has sequence {window.sequence}, and is number {number} of the topic"
    if windows and (before := bisect_left(curated, windows[0].first_offset)):
        yield f"{before} curated reviews lie before the first window"
    for earlier, later in pairwise(windows):
        if later.first_offset <= earlier.last_offset:
            yield f"windows {earlier.window_id} and {later.window_id} overlap"
        elif between := _offsets(curated, earlier.last_offset + 1, later.first_offset - 1):
            yield f"{len(between)} curated reviews lie between {earlier.window_id} and {later.window_id}"


def _window_problems(
    window: ClosedWindow, curated: Sequence[int], kept_offsets: Callable[[ClosedWindow], Sequence[int]]
) -> Iterator[str]:
    """A window's rows, kept and set aside, must be exactly the curated reviews of its range."""
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
    oldest = curated[0] if curated else window.last_offset + 1
    expected = _offsets(curated, window.first_offset, window.last_offset)
    if list(expected) != [offset for offset in found if offset >= oldest]:
        differing = sorted(set(expected).symmetric_difference(found)) or found
        yield f"window {window.window_id} does not hold the curated reviews of its range: {_some(differing)}"


def _offsets(curated: Sequence[int], first: int, last: int) -> Sequence[int]:
    return curated[bisect_left(curated, first) : bisect_right(curated, last)]


def _some(found: Sequence[object]) -> str:
    return ", ".join(map(str, found[:EXAMPLES])) + (", …" if len(found) > EXAMPLES else "")


def run_audit(settings: Settings) -> AuditReport:
    """Audits the stream that the settings name, running or not.

    Raises:
        BrokerUnavailableError: Kafka did not answer.
        ArchiveUnavailableError: The snapshots could not be read.
    """
    archive = Archive(settings)
    committed = _committed(settings)
    manifests = [_manifest(record) for record in iterate_topic(settings, "audit", WINDOWS_CLOSED)]
    published = ((record.partition, record.offset) for record in iterate_topic(settings, "audit", REVIEWS_LABELED))
    return audit(_outputs(settings), published, committed, manifests, lambda window: _kept_offsets(archive, window))


def _committed(settings: Settings) -> dict[int, int]:
    admin = Admin(settings)
    try:
        offsets = admin.group_offsets(CURATOR_GROUP)
    finally:
        admin.close()
    return {partition: offset for (_, partition), offset in offsets.items()}


def _manifest(record: Record) -> ClosedWindow | Stray:
    try:
        return decode(ClosedWindow, record.value, record.where())
    except UnreadableRecordError as error:
        return Stray(str(error))


def _outputs(settings: Settings) -> Iterator[Output | Stray]:
    for outcome, topic in OUTCOME_TOPICS.items():
        for record in iterate_topic(settings, "audit", topic):
            yield _output(outcome, record)


def _output(outcome: ReviewOutcome, record: Record) -> Output | Stray:
    try:
        return Output(outcome, record.offset, *read_origin(record.headers, record.where()))
    except LedgerCorruptError as error:
        return Stray(str(error))


def _kept_offsets(archive: Archive, window: ClosedWindow) -> Sequence[int]:
    offsets: list[int] = archive.columns(window.snapshot, ["offset"])["offset"].to_pylist()
    return offsets
