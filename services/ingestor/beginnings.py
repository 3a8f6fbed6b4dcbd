"""Where the ingestor starts to read when its group's offsets are not there, and what the stream was begun with."""

from typing import Any

import structlog

from services.ingestor.kinds import KINDS, AnyWindow, Kind
from services.ingestor.split import check_same
from shared.envelope import decode
from shared.errors import UnreadableRecordError
from shared.events import SplitRecord
from shared.kafka import Partition, Record, iterate_topic, read_newest
from shared.provenance import SPLIT_HEADER, read_origin
from shared.settings import Settings
from shared.topics import REVIEWS_CURATED, REVIEWS_REJECTED, REVIEWS_UNLABELED

log = structlog.get_logger("ingestor")

CURATOR_OUTPUTS = (REVIEWS_CURATED, REVIEWS_UNLABELED, REVIEWS_REJECTED)


class CuratorStart:
    """After the highest origin found in the curator's outputs; the beginning only where there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, partition: Partition, beginning: int, end: int) -> int:
        after = self._highest_origin(partition[1]) + 1
        return max(beginning, min(after, end))

    def _highest_origin(self, partition: int) -> int:
        records = iterate_topic(self._settings, "curator.start", *CURATOR_OUTPUTS)
        origins = (read_origin(record.headers, record.where()) for record in records)
        return max((offset for found, offset in origins if found == partition), default=-1)


class WindowerStart:
    """After the last window; commands from the end then, since older ones were answered or are stale."""

    def __init__(self, settings: Settings, kind: Kind[Any, Any]) -> None:
        self._settings, self._kind = settings, kind
        self._reviews = kind.reviews.full_name(settings.stream.prefix)

    def __call__(self, partition: Partition, beginning: int, end: int) -> int:
        manifests = newest_manifests(self._settings, self._kind, 1)
        if not manifests:
            return beginning
        return max(beginning, manifests[-1].last_offset + 1) if partition[0] == self._reviews else end


def newest_manifests(settings: Settings, kind: Kind[Any, AnyWindow], count: int) -> list[AnyWindow]:
    """The last windows, the oldest first. What is no manifest is passed over, as by the retrainer."""
    asked = count
    while True:
        records = read_newest(settings, "ingestor.manifests", kind.manifests, asked)
        manifests = [manifest for record in records if (manifest := read_manifest(record, kind))]
        if len(manifests) >= count or len(records) < asked:
            return manifests[-count:]
        asked *= 2


def read_manifest(record: Record, kind: Kind[Any, AnyWindow]) -> AnyWindow | None:
    """The manifest in a record of `kind.manifests`; None, and an error in the log, if it holds another's bytes."""
    try:
        return decode(kind.manifest, record.value, record.where())
    except UnreadableRecordError as error:
        log.error("record_passed_over", error=str(error))
        return None


def check_split(settings: Settings, split: SplitRecord) -> None:
    """Refuses a split other than the one that the stream was begun with, by its newest manifests or reviews.

    Raises:
        ConfigurationError: Naming each field that differs.
    """
    for kind in KINDS:
        if manifests := newest_manifests(settings, kind, 1):
            check_same(manifests[0].split, split)
        else:
            for record in read_newest(settings, "ingestor.split", kind.reviews):
                check_record(record, split)


def check_record(record: Record, split: SplitRecord) -> None:
    """Refuses a curated review that was assigned by another split."""
    check_same(decode(SplitRecord, record.headers.get(SPLIT_HEADER), record.where()), split)
