"""The windower at work: reads the curated reviews, closes windows, publishes each manifest with the positions behind.

The group's committed position in `reviews.curated` is the open window's first offset; whenever partitions come or go
the window is dropped and read again from there. A second windower is a standby: the group gives it nothing until the
first is gone. Then it takes over the transactional id, which fences whatever is left of the first.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.ingestor.beginnings import WindowerStart, check_record, check_split, newest_manifests
from services.ingestor.duplicates import Signatures
from services.ingestor.outputs import split_header
from services.ingestor.triggers import Closing
from services.ingestor.windower import Windower
from shared.archive import Archive
from shared.envelope import decode, trace_parent
from shared.errors import LedgerCorruptError, SnapshotError, UnreadableRecordError
from shared.events import ClosedWindow, Command, CommandKind, CuratedReview, Trigger, utc_now
from shared.kafka import GroupConsumer, Partition, Record, TransactionalProducer
from shared.lag import LagReport
from shared.metrics import IngestorMetrics
from shared.provenance import SPLIT_HEADER
from shared.service import Context
from shared.topics import CONTROL_COMMANDS, REVIEWS_CURATED, WINDOWS_CLOSED

log = structlog.get_logger("windower")

ROLE = "windower"
SHORTEST_POLL_SECONDS = 0.1
NEVER = -1


@dataclass(frozen=True, slots=True)
class _Order:
    """A command to close the window, with its broker time and the position behind it."""

    command: Command
    given_at: datetime
    next_offset: int


class WindowerLoop:
    """Cuts windows out of `reviews.curated`; killed between any two lines, each window still appears once."""

    def __init__(self, context: Context, metrics: IngestorMetrics) -> None:
        """Raises ConfigurationError if the stream was begun with another split."""
        settings = context.settings
        self._settings, self._metrics = settings, metrics
        self._windower = Windower(settings.stream, settings.ingestor)
        check_split(settings, self._windower.split)
        self._split_header = split_header(self._windower.split)[1]
        self._archive = Archive(settings)
        self._curated: Partition = (REVIEWS_CURATED.full_name(settings.stream.prefix), 0)
        self._commands: Partition = (CONTROL_COMMANDS.full_name(settings.stream.prefix), 0)
        self._consumer = GroupConsumer(settings, ROLE, [REVIEWS_CURATED, CONTROL_COMMANDS], WindowerStart(settings))
        self._lag = LagReport(self._consumer, context.metrics.consumer_lag, settings.stream.identity(ROLE))
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
        self._orders: deque[_Order] = deque()

    def _resume(self) -> None:
        """Starts over from what is committed; repeated by the next step if anything fails."""
        generation = self._consumer.generation
        self._drop()
        self._let_go()
        if self._curated in self._consumer.assignment:
            producer = TransactionalProducer(self._settings, ROLE)  # from here on no predecessor can commit
            self._consumer.rewind()
            self._consumer.resume()
            self._rebuild()
            self._producer = producer
        self._generation = generation

    def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            producer.close()

    def _rebuild(self) -> None:
        remembered = self._settings.ingestor.duplicates.remembered_windows
        manifests = newest_manifests(self._settings, max(1, remembered))
        last = manifests[-1] if manifests else None
        self._windower.resume(last, self._signatures(manifests[-remembered:] if remembered else []))
        log.info("resumed", after=last and last.window_id, remembered=len(manifests))

    def _signatures(self, manifests: list[ClosedWindow]) -> Iterator[Signatures]:
        for manifest in manifests:
            try:
                yield Signatures.from_bytes(self._archive.signatures(manifest.snapshot))
            except (SnapshotError, ValueError, KeyError, EOFError) as error:
                log.error("window_not_remembered", window_id=manifest.window_id, error=str(error))

    def _take(self, records: list[Record]) -> None:
        self._reviews.extend(record for record in records if record.topic == self._curated[0])
        self._orders.extend(_orders(record for record in records if record.topic == self._commands[0]))

    def _work(self, producer: TransactionalProducer) -> None:
        """Adds every review read, closing as soon as a trigger or an order says so. Repeatable after any error."""
        while self._reviews:
            if closing := self._windower.due(None) or self._ordered_before(self._reviews[0].published_at):
                self._close(producer, closing)
            else:
                self._add(self._reviews[0])
                self._reviews.popleft()
                self._metrics.windowed.inc()
        # A poll may bring little of a backlog, so its size does not say whether there is more.
        now = utc_now() if self._all_read() else None
        while closing := self._windower.due(now) or self._ordered_now():
            self._close(producer, closing)

    def _add(self, record: Record) -> None:
        if record.headers.get(SPLIT_HEADER) != self._split_header:
            check_record(record, self._windower.split)
        try:
            review = decode(CuratedReview, record.value, record.where())
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
        return self._consumer.lag().get(self._curated) == 0

    def _order(self) -> Closing | None:
        """The oldest order that has an effect. Those without are committed, lest a restart carries them out."""
        while self._orders:
            if closing := self._windower.asked(self._orders[0].command):
                return closing
            self._consumer.commit({self._commands: self._orders[0].next_offset})
            self._orders.popleft()
        return None

    def _close(self, producer: TransactionalProducer, closing: Closing) -> None:
        """Publishes the window once. Killed before step 3, it is read and cut again; after it, never."""
        windower, name = self._windower, str(self._windower.window_id)
        ordered = closing.trigger in (Trigger.OPERATOR, Trigger.DRIFT)
        # 1. content-addressed: writing twice is writing once
        snapshot = self._archive.write(name, list(windower.window.kept()), windower.signatures().to_bytes())
        manifest = windower.manifest(closing, snapshot, utc_now())
        with self._or_resume(), producer.transaction(self._consumer) as transaction:
            # 2. the output, and the input positions: last processed + 1
            transaction.send(WINDOWS_CLOSED, name, manifest, manifest.trace_parent)
            transaction.send_offsets({self._curated: manifest.last_offset + 1})
            if ordered:
                transaction.send_offsets({self._commands: self._orders[0].next_offset})
        # 3. both are visible now; forget only now
        windower.forget()
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

    def _tell(self, manifest: ClosedWindow) -> None:
        log.info(
            "window_closed",
            window_id=manifest.window_id,
            trigger=manifest.trigger.value,
            detail=manifest.trigger_detail,
            reviews=manifest.reviews,
            kept=manifest.kept,
            trainable=manifest.trainable,
        )
        self._metrics.windows.labels(manifest.trigger.value).inc()
        self._metrics.untrainable.inc(0 if manifest.trainable else 1)
        for row in manifest.set_aside:
            self._metrics.set_aside.labels(row.reason.value).inc()

    def _report(self) -> None:
        counts = self._windower.window.counts()
        self._metrics.open_window_reviews.set(counts.reviews)
        self._metrics.open_window_kept.set(counts.kept)
        self._metrics.open_window_age.set(counts.age_seconds(utc_now()))
        self._lag.update()

    def close(self) -> None:
        """Leaves the group, so that a standby takes over at once."""
        self._consumer.close()
        self._let_go()


def _orders(records: Iterable[Record]) -> Iterator[_Order]:
    """The commands to close a window; what others may have written there is passed over."""
    for record in records:
        try:
            command = decode(Command, record.value, record.where())
        except UnreadableRecordError as error:
            log.warning("command_ignored", error=str(error))
            continue
        if command.kind in (CommandKind.CLOSE_WINDOW, CommandKind.DRIFT):
            yield _Order(command, record.published_at, record.offset + 1)
