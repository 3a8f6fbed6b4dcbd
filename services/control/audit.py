"""Proves the accounting from the topics: every published review in one outcome, every curated one in one window.

Text without labels has windows of its own, of which the same is proven.

Records are counted by their origin, never by differences of offsets: transaction markers take offsets too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from services.control import history
from services.control.window_audit import KeptOffsets, Window, WindowAudit, some
from shared.archive import Archive
from shared.events import ClosedWindow, SetAside, UnlabeledWindow
from shared.kafka import Admin, iterate_topic
from shared.metrics import ReviewOutcome
from shared.provenance import read_origin
from shared.settings import Settings
from shared.topics import REVIEWS_CURATED, REVIEWS_LABELED, REVIEWS_REJECTED, REVIEWS_UNLABELED, Topic

OUTCOME_TOPICS: dict[ReviewOutcome, Topic] = {
    ReviewOutcome.CURATED: REVIEWS_CURATED,
    ReviewOutcome.UNLABELED: REVIEWS_UNLABELED,
    ReviewOutcome.REJECTED: REVIEWS_REJECTED,
}
CURATOR_GROUP = "curator"
_ABSENT, _WRITTEN, _ACCOUNTED = 0, 1, 2


class Output(NamedTuple):
    """One record that a curator wrote: its own offset, and its origin in `reviews.labeled`."""

    outcome: ReviewOutcome
    offset: int
    partition: int
    origin_offset: int


class AuditReport(BaseModel):
    """Where every review is. `ok` only if none is unaccounted for or doubled and no window is damaged.

    published = curated + unlabeled + rejected + waiting + unaccounted, as long as retention has taken nothing;
    curated = windowed + open; windowed = kept + everything set aside; the same of unlabeled, in windows of its own.
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
    unlabeled_windowed: int
    unlabeled_kept: int
    unlabeled_set_aside: dict[SetAside, int]
    unlabeled_open: int
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
    outputs: Iterable[Output],
    published: Iterable[tuple[int, int]],
    committed: Mapping[int, int],
    windows: Sequence[ClosedWindow],
    unlabeled_windows: Sequence[UnlabeledWindow],
    kept_offsets: KeptOffsets,
) -> AuditReport:
    """Accounts for every review.

    While services run, read in this order and each after the one before: `committed`, both `windows`, `outputs`,
    `published`; then nothing that is merely on its way looks lost.

    Args:
        outputs: Of the curator, each topic in the order of offsets, `reviews.curated` first.
        published: (partition, offset) of each record of `reviews.labeled`, by partition in order. Read last.
        committed: The curators' position in each partition of `reviews.labeled`.
        windows: The manifests in the order of `windows.closed`.
        unlabeled_windows: Those in the order of `windows.unlabeled`.
    """
    origins, counts, reached = _Origins(), Counter[ReviewOutcome](), Counter(committed)
    curated = WindowAudit("curated reviews", windows)
    unlabeled = WindowAudit("unlabelled reviews", unlabeled_windows)
    audits = {ReviewOutcome.CURATED: curated, ReviewOutcome.UNLABELED: unlabeled}
    for output in outputs:
        counts[output.outcome] += 1
        origins.write(output.partition, output.origin_offset)
        if output.outcome in audits:
            audits[output.outcome].add(output.offset)
        if output.outcome is ReviewOutcome.CURATED:
            # The group's positions may be gone, e.g. expired. Only of the topic that is read first: what curators
            # committed since then is in later topics alone, and its neighbours would look lost.
            reached[output.partition] = max(reached[output.partition], output.origin_offset + 1)
    for partition, offset in published:
        origins.publish(partition, offset, reached[partition])
    problems = [*_origin_problems(origins), *curated.problems(kept_offsets), *unlabeled.problems(kept_offsets)]
    return AuditReport(
        published=origins.published,
        curated=counts[ReviewOutcome.CURATED],
        unlabeled=counts[ReviewOutcome.UNLABELED],
        rejected=counts[ReviewOutcome.REJECTED],
        windowed=curated.windowed,
        kept=curated.kept,
        set_aside=curated.set_aside,
        open=curated.open,
        unlabeled_windowed=unlabeled.windowed,
        unlabeled_kept=unlabeled.kept,
        unlabeled_set_aside=unlabeled.set_aside,
        unlabeled_open=unlabeled.open,
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
            yield f"{len(found)} {what}: {some(found)}"


def run_audit(settings: Settings) -> AuditReport:
    """Audits the stream that the settings name, running or not.

    Raises:
        BrokerUnavailableError: Kafka did not answer.
        ArchiveUnavailableError: The snapshots could not be read.
    """
    archive = Archive(settings)
    committed = _committed(settings)
    windows = history.windows(settings)
    unlabeled_windows = history.unlabeled_windows(settings)
    published = ((record.partition, record.offset) for record in iterate_topic(settings, "audit", REVIEWS_LABELED))
    return audit(
        _outputs(settings),
        published,
        committed,
        windows,
        unlabeled_windows,
        lambda window: _kept_offsets(archive, window),
    )


def _committed(settings: Settings) -> dict[int, int]:
    admin = Admin(settings)
    try:
        offsets = admin.group_offsets(CURATOR_GROUP)
    finally:
        admin.close()
    return {partition: offset for (_, partition), offset in offsets.items()}


def _outputs(settings: Settings) -> Iterator[Output]:
    for outcome, topic in OUTCOME_TOPICS.items():
        for record in iterate_topic(settings, "audit", topic):
            yield Output(outcome, record.offset, *read_origin(record.headers, record.where()))


def _kept_offsets(archive: Archive, window: Window) -> Sequence[int]:
    offsets: list[int] = archive.columns(window.snapshot, ["offset"])["offset"].to_pylist()
    return offsets
