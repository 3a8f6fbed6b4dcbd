"""Proves the accounting from the topics: every published review in one outcome, every curated one in one window.

Text without labels has windows of its own, of which the same is proven.

Records are counted by their origin, never by differences of offsets: transaction markers take offsets too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from services.control.window_audit import KeptOffsets, Window, WindowAudit, some
from shared.archive import Archive
from shared.envelope import decode
from shared.errors import LedgerCorruptError, UnreadableRecordError
from shared.events import ClosedWindow, SetAside, UnlabeledWindow
from shared.kafka import Admin, Record, iterate_topic
from shared.metrics import ReviewOutcome
from shared.provenance import read_origin
from shared.settings import Settings
from shared.topics import (
    REVIEWS_CURATED,
    REVIEWS_LABELED,
    REVIEWS_REJECTED,
    REVIEWS_UNLABELED,
    WINDOWS_CLOSED,
    WINDOWS_UNLABELED,
    Topic,
)

AnyWindow = TypeVar("AnyWindow", ClosedWindow, UnlabeledWindow)

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


class Stray(NamedTuple):
    """A record that is none of ours; `why` names it and says what is wrong with it."""

    why: str


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
    outputs: Iterable[Output | Stray],
    published: Iterable[tuple[int, int]],
    committed: Mapping[int, int],
    manifests: Sequence[ClosedWindow | Stray],
    unlabeled_manifests: Sequence[UnlabeledWindow | Stray],
    kept_offsets: KeptOffsets,
) -> AuditReport:
    """Accounts for every review.

    While services run, read in this order and each after the one before: `committed`, both `manifests`, `outputs`,
    `published`; then nothing that is merely on its way looks lost.

    Args:
        outputs: Of the curator, each topic in the order of offsets, `reviews.curated` first.
        published: (partition, offset) of each record of `reviews.labeled`, by partition in order. Read last.
        committed: The curators' position in each partition of `reviews.labeled`.
        manifests: In the order of `windows.closed`.
        unlabeled_manifests: In the order of `windows.unlabeled`.
    """
    origins, counts, reached = _Origins(), Counter[ReviewOutcome](), Counter(committed)
    strays = [each.why for each in (*manifests, *unlabeled_manifests) if isinstance(each, Stray)]
    curated = WindowAudit("curated reviews", [each for each in manifests if not isinstance(each, Stray)])
    unlabeled = WindowAudit("unlabelled reviews", [each for each in unlabeled_manifests if not isinstance(each, Stray)])
    audits = {ReviewOutcome.CURATED: curated, ReviewOutcome.UNLABELED: unlabeled}
    for output in outputs:
        if isinstance(output, Stray):
            strays.append(output.why)
            continue
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
    problems = [*strays, *_origin_problems(origins)]
    problems += [*curated.problems(kept_offsets), *unlabeled.problems(kept_offsets)]
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
    manifests = _manifests(settings, WINDOWS_CLOSED, ClosedWindow)
    unlabeled_manifests = _manifests(settings, WINDOWS_UNLABELED, UnlabeledWindow)
    published = ((record.partition, record.offset) for record in iterate_topic(settings, "audit", REVIEWS_LABELED))
    return audit(
        _outputs(settings),
        published,
        committed,
        manifests,
        unlabeled_manifests,
        lambda window: _kept_offsets(archive, window),
    )


def _committed(settings: Settings) -> dict[int, int]:
    admin = Admin(settings)
    try:
        offsets = admin.group_offsets(CURATOR_GROUP)
    finally:
        admin.close()
    return {partition: offset for (_, partition), offset in offsets.items()}


def _manifests(settings: Settings, topic: Topic, model: type[AnyWindow]) -> list[AnyWindow | Stray]:
    return [_manifest(record, model) for record in iterate_topic(settings, "audit", topic)]


def _manifest(record: Record, model: type[AnyWindow]) -> AnyWindow | Stray:
    try:
        return decode(model, record.value, record.where())
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


def _kept_offsets(archive: Archive, window: Window) -> Sequence[int]:
    offsets: list[int] = archive.columns(window.snapshot, ["offset"])["offset"].to_pylist()
    return offsets
