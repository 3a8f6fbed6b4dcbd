"""A windower at work: reads curated reviews, closes windows, publishes each manifest with the positions behind.

There is one for each kind of windows. Its group's committed position in the topic of reviews is the open window's first
offset; whenever partitions come or go the window is dropped and read again from there. A second windower of a kind is a
standby: the group gives it nothing until the first is gone. Then it takes over the transactional id, which fences
whatever is left of the first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import structlog

from services.ingestor.beginnings import WindowerStart, check_record, check_split, newest_manifests
from services.ingestor.duplicates import Signatures
from services.ingestor.kinds import LABELED, UNLABELED, AnyReview, AnyWindow, Kind
from services.ingestor.open_window import OpenWindow
from services.ingestor.orders import Order, read_orders
from services.ingestor.outputs import split_header
from services.ingestor.triggers import Closing
from services.ingestor.unlabeled_windower import UnlabeledWindower
from services.ingestor.windower import Windower
from shared.archive import Archive
from shared.envelope import decode, trace_parent
from shared.errors import LedgerCorruptError, SnapshotError, UnreadableRecordError
from shared.events import (
    ClosedWindow,
    Command,
    CuratedReview,
    Snapshot,
    SplitRecord,
    Trigger,
    UnlabeledReview,
    UnlabeledWindow,
    utc_now,
)
from shared.kafka import GroupConsumer, Partition, Record, TransactionalProducer
from shared.lag import LagReport
from shared.metrics import IngestorMetrics
from shared.provenance import SPLIT_HEADER
from shared.service import Context
from shared.topics import CONTROL_COMMANDS

log = structlog.get_logger("windower")

SHORTEST_POLL_SECONDS = 0.1
NEVER = -1

Review = TypeVar("Review", contravariant=True)


class Cutter(Protocol[Review, AnyWindow]):
    """What decides about the windows of one kind: `Windower` and `UnlabeledWindower`."""

    split: SplitRecord

    @property
    def window(self) -> OpenWindow[Any]:
        """The open one."""

    def resume(self, last: AnyWindow | None, earlier: Iterable[Signatures]) -> None:
        """Begins an empty window after the last closed one."""

    def add(self, offset: int, review: Review, trace_parent: str | None) -> None:
        """Takes the next review."""

    def due(self, now: datetime | None) -> Closing | None:
        """Why the window closes now, if it does."""

    def write(self, archive: Archive) -> Snapshot:
        """Archives the window."""

    def manifest(self, closing: Closing, snapshot: Snapshot, now: datetime) -> AnyWindow:
        """What is published of the window."""

    def forget(self, closed: AnyWindow) -> None:
        """Goes on to the next window."""


def labeled_windower(context: Context, metrics: IngestorMetrics) -> "WindowerLoop[CuratedReview, ClosedWindow]":
    """Cuts `reviews.curated`, and closes its window on order, too."""
    windower = Windower(context.settings.stream, context.settings.ingestor)
    return WindowerLoop(context, metrics, LABELED, windower, windower.asked)


def unlabeled_windower(context: Context, metrics: IngestorMetrics) -> "WindowerLoop[UnlabeledReview, UnlabeledWindow]":
    """Cuts `reviews.unlabeled`."""
    return WindowerLoop(context, metrics, UNLABELED, UnlabeledWindower(context.settings.ingestor))


class WindowerLoop(Generic[AnyReview, AnyWindow]):
    """Cuts one kind of windows; killed between any two lines, each window still appears once."""

    def __init__(
        self,
        context: Context,
        metrics: IngestorMetrics,
        kind: Kind[AnyReview, AnyWindow],
        windower: Cutter[AnyReview, AnyWindow],
        asked: Callable[[Command], Closing | None] | None = None,
    ) -> None:
        """Args: asked: why the window closes on order, if it does; None: it takes no orders.

        Raises:
            ConfigurationError: The stream was begun with another split.
        """
        settings, topics = context.settings, [kind.reviews, *([CONTROL_COMMANDS] if asked else [])]
        self._settings, self._kind = settings, kind
        self._metrics, self._window_metrics = metrics, metrics.of(kind.manifest)
        self._windower, self._asked = windower, asked
        check_split(settings, windower.split)
        self._split_header = split_header(windower.split)[1]
        self._archive = Archive(settings)
        self._input: Partition = (kind.reviews.full_name(settings.stream.prefix), 0)
        self._commands: Partition = (CONTROL_COMMANDS.full_name(settings.stream.prefix), 0)
        self._consumer = GroupConsumer(settings, kind.role, topics, WindowerStart(settings, kind))
        self._lag = LagReport(self._consumer, context.metrics.consumer_lag, settings.stream.identity(kind.role))
        self._poll_seconds = max(
            SHORTEST_POLL_SECONDS, min(settings.ingestor.window.tick_seconds, settings.kafka.poll_seconds)
        )
        self._producer: TransactionalProducer | None = None
        self._generation = NEVER
        self._drop()

    def step(self) -> None:
        """Reads one poll's records into the window and closes what is due."""
        if self._reviews:
            self._consumer.pause()  # what was read is not worked off, e.g. the archive is away: read no more
        records = self._consumer.poll(self._poll_seconds)
        if self._consumer.generation != self._generation:
            self._resume()
        elif self._producer:
            self._take(records)
            self._work(self._producer)
            self._consumer.resume()
        self._report()

    def _drop(self) -> None:
        """Forgets all that was read and is not committed."""
        self._reviews: deque[Record] = deque()
        self._orders: deque[Order] = deque()

    def _resume(self) -> None:
        """Starts over from what is committed; repeated by the next step if anything fails."""
        generation = self._consumer.generation
        self._drop()
        self._let_go()
        if self._input in self._consumer.assignment:
            # From here on no predecessor can commit. Kept at once: where the rest fails, the next try lets go of it.
            self._producer = TransactionalProducer(self._settings, self._kind.role)
            self._consumer.rewind()
            self._consumer.resume()
            self._rebuild()
        self._generation = generation

    def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            producer.close()

    def _rebuild(self) -> None:
        remembered = self._settings.ingestor.duplicates.remembered_windows
        manifests = newest_manifests(self._settings, self._kind, max(1, remembered))
        last = manifests[-1] if manifests else None
        self._windower.resume(last, self._signatures(manifests[-remembered:] if remembered else []))
        after = last.window_id if last else None
        log.info("resumed", topic=self._kind.reviews.name, after=after, remembered=len(manifests))

    def _signatures(self, manifests: Iterable[AnyWindow]) -> Iterator[Signatures]:
        for manifest in manifests:
            try:
                yield Signatures.from_bytes(self._archive.signatures(manifest.snapshot))
            except (SnapshotError, ValueError, KeyError, EOFError) as error:
                log.error("window_not_remembered", window_id=manifest.window_id, error=str(error))

    def _take(self, records: list[Record]) -> None:
        self._reviews.extend(record for record in records if record.topic == self._input[0])
        self._orders.extend(read_orders(record for record in records if record.topic == self._commands[0]))

    def _work(self, producer: TransactionalProducer) -> None:
        """Adds every review read, closing as soon as a trigger or an order says so. Repeatable after any error."""
        while self._reviews:
            if closing := self._windower.due(None) or self._ordered_before(self._reviews[0].published_at):
                self._close(producer, closing)
            else:
                self._add(self._reviews[0])
                self._reviews.popleft()
                self._window_metrics.windowed.inc()
        # A poll may bring little of a backlog, so its size does not say whether there is more.
        now = utc_now() if self._windower.window and self._all_read() else None
        while closing := self._windower.due(now) or self._ordered_now():
            self._close(producer, closing)

    def _add(self, record: Record) -> None:
        if record.headers.get(SPLIT_HEADER) != self._split_header:
            check_record(record, self._windower.split)
        try:
            review = decode(self._kind.review, record.value, record.where())
        except UnreadableRecordError as error:
            raise LedgerCorruptError(f"{error}. Only curators may write there") from error
        self._windower.add(record.offset, review, trace_parent(record.headers))

    def _ordered_before(self, published_at: datetime) -> Closing | None:
        """An order's reason to close the window before a review that was curated after it was given."""
        return self._order() if self._orders and self._orders[0].given_at < published_at else None

    def _ordered_now(self) -> Closing | None:
        """An order's reason to close the window, once every review before it has been read."""
        return self._order() if self._orders and self._all_read() else None

    def _all_read(self) -> bool:
        return self._consumer.lag().get(self._input) == 0

    def _order(self) -> Closing | None:
        """The oldest order that has an effect. Those without are committed, lest a restart carries them out."""
        while self._orders and self._asked:
            if closing := self._asked(self._orders[0].command):
                return closing
            self._consumer.commit({self._commands: self._orders[0].next_offset})
            self._orders.popleft()
        return None

    def _close(self, producer: TransactionalProducer, closing: Closing) -> None:
        """Publishes the window once. Killed before step 3, it is read and cut again; after it, never."""
        windower = self._windower
        ordered = closing.trigger in (Trigger.OPERATOR, Trigger.DRIFT)
        # 1. content-addressed: writing twice is writing once
        snapshot = windower.write(self._archive)
        manifest = windower.manifest(closing, snapshot, utc_now())
        with self._or_resume(), producer.transaction(self._consumer) as transaction:
            # 2. the output, and the input positions: last processed + 1
            transaction.send(self._kind.manifests, manifest.window_id, manifest, manifest.trace_parent)
            transaction.send_offsets({self._input: manifest.last_offset + 1})
            if ordered:
                transaction.send_offsets({self._commands: self._orders[0].next_offset})
        # 3. both are visible now; forget only now
        windower.forget(manifest)
        if ordered:
            self._orders.popleft()
        self._tell(manifest)

    @contextmanager
    def _or_resume(self) -> Iterator[None]:
        """After an error the consumer is back at the window's beginning, so the window must be read again."""
        try:
            yield
        except BaseException:
            self._generation = NEVER
            raise

    def _tell(self, manifest: AnyWindow) -> None:
        log.info(
            "window_closed",
            window_id=manifest.window_id,
            trigger=manifest.trigger.value,
            detail=manifest.trigger_detail,
            reviews=manifest.reviews,
            kept=manifest.kept,
            **({"trainable": manifest.trainable} if isinstance(manifest, ClosedWindow) else {}),
        )
        self._metrics.closed(manifest)

    def _report(self) -> None:
        counts = self._windower.window.counts()
        self._window_metrics.open_window_reviews.set(counts.reviews)
        self._window_metrics.open_window_kept.set(counts.kept)
        self._window_metrics.open_window_age.set(counts.age_seconds(utc_now()))
        self._lag.update()

    def close(self) -> None:
        """Leaves the group, so that a standby takes over at once."""
        self._consumer.close()
        self._let_go()
