"""Kafka as Tidemill uses it: the only module that imports kafka-python.

Consumers are read_committed and never reset an offset by themselves; producers are idempotent or transactional; every
error that leaves here is one of `shared.errors`. Traps of kafka-python 3.0.12 that are handled here: a transactional
request to an unreachable coordinator is lost for ever (`_PatientClient`), commits have no time-out (`_watchdog`),
offsets given as plain integers hang, polls under 100 ms never join a group.
"""

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from kafka.structs import OffsetAndMetadata

from shared.envelope import Headers, encode, event_headers
from shared.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    CommitOutcomeUnknownError,
    ConfigurationError,
    ExitCode,
    FencedError,
    RetryableError,
)
from shared.events import Event
from shared.settings import Settings
from shared.topics import ALL_TOPICS, MAX_INTERNAL_BYTES, REVIEWS_LABELED, Topic

log = structlog.get_logger("kafka")

RECONNECT_BACKOFF_MS = 500
TRANSACTION_RETRY_BACKOFF_MS = 5
LINGER_MS = 5
# A transaction flushes at its end; before, a batch is only sent when it is full.
TRANSACTION_LINGER_MS = 500
BATCH_BYTES = 128 * 1024
FETCH_BYTES = 8 * 1024 * 1024
CODECS = {"crc32c": "crc32c", "lz4": "lz4", "snappy": "python-snappy", "zstandard": "zstandard"}
FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.FencedInstanceIdError,
)
REBALANCED = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.UnknownMemberIdError,
)

Partition = tuple[str, int]


class RebalancedError(RetryableError):
    """The group gave our partitions to another member; nothing of ours was committed."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read. `topic` is the full name, prefix included."""

    topic: str
    partition: int
    offset: int
    published_at: datetime
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def where(self) -> str:
        """The record's address, for messages."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


def check_codecs() -> None:
    """Refuses to start without the optional codecs: a user's snappy batch would stop the consumer.

    Raises:
        ConfigurationError: Naming the packages that are missing.
    """
    missing = [package for module, package in CODECS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigurationError(f"install {', '.join(missing)}: Kafka batches cannot be read safely without")


@contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Turns every KafkaError into one of ours; `doing` says what was tried."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise _translate(error, doing) from error


def _translate(error: kafka_errors.KafkaError, doing: str) -> Exception:
    text = f"{doing}: {type(error).__name__}: {error}"
    if isinstance(error, FENCED) or any(kind.__name__ in str(error) for kind in FENCED):
        return FencedError(f"{text}. Another instance with this identity took over")
    if isinstance(error, REBALANCED):
        return RebalancedError(text)
    if isinstance(error, kafka_errors.RetriableError):
        return BrokerUnavailableError(text)
    return BrokerRefusedError(text)


class _PatientClient(KafkaNetClient):  # type: ignore[misc]
    """Says "not ready" where kafka-python raises, so that its sender tries again instead of losing the request."""

    def await_ready(self, node_id: int, timeout_ms: int = 30_000) -> bool:
        try:
            return bool(super().await_ready(node_id, timeout_ms))
        except kafka_errors.KafkaConnectionError:
            time.sleep(0.05)
            return False


def _connection(settings: Settings, role: str) -> dict[str, Any]:
    """Options that every client shares."""
    kafka = settings.kafka
    password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
    return {
        "bootstrap_servers": settings.bootstrap_servers().split(","),
        "client_id": settings.stream.identity(role),
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": password,
        "ssl_cafile": kafka.ssl_cafile,
        "ssl_certfile": kafka.ssl_certfile,
        "ssl_keyfile": kafka.ssl_keyfile,
        "bootstrap_timeout_ms": int(kafka.bootstrap_timeout_seconds * 1000),
        "request_timeout_ms": int(kafka.request_timeout_seconds * 1000),
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MS,
    }


def _consumer(settings: Settings, role: str, group: str | None) -> KafkaConsumer:
    kafka = settings.kafka
    options = _connection(settings, role) | {
        "group_id": group,
        "isolation_level": "read_committed",
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "max_poll_records": kafka.max_poll_records,
        "max_partition_fetch_bytes": FETCH_BYTES,
        "session_timeout_ms": int(kafka.session_timeout_seconds * 1000),
        "heartbeat_interval_ms": int(kafka.heartbeat_seconds * 1000),
    }
    with broker_errors(f"connecting {role} to {settings.bootstrap_servers()}"):
        return KafkaConsumer(**options)


def _record(raw: Any) -> Record:
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        published_at=datetime.fromtimestamp(raw.timestamp / 1000, UTC),
        key=raw.key,
        value=raw.value,
        headers={name: value or b"" for name, value in raw.headers or ()},
    )


def _poll(consumer: KafkaConsumer, seconds: float) -> list[Record]:
    batches = consumer.poll(timeout_ms=int(seconds * 1000))
    return [_record(raw) for batch in batches.values() for raw in batch]


StartOffset = Callable[[Partition, int, int], int]
"""(partition, beginning, end) -> where to start reading when the group has no usable offset there."""


def from_beginning(partition: Partition, beginning: int, end: int) -> int:
    """Starts at the oldest record that is still there."""
    return beginning


class _Assignments(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts changes of assignment, so that state built under an older one can be dropped."""

    def __init__(self) -> None:
        self.generation = 0

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.generation += 1

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.generation += 1


class GroupConsumer:
    """A member of a consumer group. Offsets move only inside a producer's transaction or by `commit`."""

    def __init__(self, settings: Settings, role: str, topics: Iterable[Topic], start: StartOffset) -> None:
        """Joins the group `PREFIX.ROLE` on its first poll.

        Args:
            start: Says where to read when the group has no offset, or one that is no longer there.

        Raises:
            BrokerUnavailableError: Kafka did not answer.
        """
        self._settings, self._role, self._start = settings, role, start
        self._assignments = _Assignments()
        self._membership: Any = None
        self._raw = _consumer(settings, role, settings.stream.identity(role))
        names = [topic.full_name(settings.stream.prefix) for topic in topics]
        self._raw.subscribe(names, listener=self._assignments)
        with broker_errors(f"looking up {names}"):
            # A leader that assigns before it knows the partitions gives nothing to anybody, and may never correct it.
            for name in names:
                self._raw.partitions_for_topic(name)

    @property
    def generation(self) -> int:
        """Changes whenever partitions come or go."""
        return self._assignments.generation

    @property
    def assignment(self) -> frozenset[Partition]:
        """The partitions that are ours now."""
        return frozenset((tp.topic, tp.partition) for tp in self._raw.assignment())

    def poll(self, seconds: float | None = None) -> list[Record]:
        """Waits for records at most `seconds` (default: the setting). Also keeps the membership alive."""
        wait = self._settings.kafka.poll_seconds if seconds is None else seconds
        with broker_errors(f"polling as {self._role}"):
            try:
                records = _poll(self._raw, wait)
            except kafka_errors.NoOffsetForPartitionError as error:
                records = self._place(dict.fromkeys(error.args[0]))
            except kafka_errors.OffsetOutOfRangeError as error:
                records = self._place(error.args[0])
        self._membership = self._raw.group_metadata()
        return records

    def _place(self, lost: Mapping[TopicPartition, int | None]) -> list[Record]:
        """Seeks every partition without a usable offset to where `start` says; there are no records yet."""
        beginnings = self._raw.beginning_offsets(list(lost))
        ends = self._raw.end_offsets(list(lost))
        for tp, offset in lost.items():
            start = self._start((tp.topic, tp.partition), beginnings[tp], ends[tp])
            level = log.info if offset is None else log.warning
            level("offset_placed", topic=tp.topic, partition=tp.partition, had=offset, start=start)
            self._raw.seek(tp, start)
        return []

    def rewind(self) -> None:
        """Goes back to what the group has committed, as after a restart."""
        with broker_errors(f"rewinding {self._role}"):
            unplaced: dict[TopicPartition, int | None] = {}
            for tp in self._raw.assignment():
                committed = self._raw.committed(tp)
                if committed is None:
                    unplaced[tp] = None
                else:
                    self._raw.seek(tp, committed)
            if unplaced:
                self._place(unplaced)

    def seek(self, partition: Partition, offset: int) -> None:
        """Reads on from `offset`."""
        self._raw.seek(TopicPartition(*partition), offset)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commits positions (last processed + 1) outside any transaction.

        Raises:
            RebalancedError: The partitions are no longer ours.
        """
        with broker_errors(f"committing offsets of {self._role}"):
            self._raw.commit(_positions(offsets))

    def pause(self) -> None:
        """Polls return nothing until `resume`; the membership goes on."""
        self._raw.pause(*self._raw.assignment())

    def resume(self) -> None:
        """Ends a pause."""
        self._raw.resume(*self._raw.paused())

    def lag(self) -> dict[Partition, int]:
        """Committed records that this member has not read yet, by partition. Transaction markers count too."""
        tps = list(self._raw.assignment())
        if not tps:
            return {}
        with broker_errors(f"measuring the lag of {self._role}"):
            ends = self._raw.end_offsets(tps)
            return {(tp.topic, tp.partition): max(0, ends[tp] - self._position(tp)) for tp in tps}

    def _position(self, tp: TopicPartition) -> int:
        try:
            return self._raw.position(tp) or 0
        except kafka_errors.NoOffsetForPartitionError:
            return 0  # assigned, but the poll that places it is still to come

    def group_metadata(self) -> Any:
        """Membership as of the last poll, for fencing transactions (KIP-447).

        Raises:
            RebalancedError: We are not in the group; the broker would take such a membership for no group at all.
        """
        # The heartbeat thread clears the live one when the group drops us, and empty means "do not fence".
        if self._membership is None or self._membership.generation_id < 0:
            raise RebalancedError(f"{self._role} is not a member of its group")
        return self._membership

    def close(self) -> None:
        """Leaves the group at once."""
        self._raw.close(autocommit=False, timeout_ms=2000)


class Follower:
    """Reads whole topics from their beginning, then on, without a group: for ledgers that are folded into state."""

    def __init__(self, settings: Settings, role: str, topics: Iterable[Topic]) -> None:
        """Raises BrokerUnavailableError if Kafka did not answer, BrokerRefusedError if a topic does not exist."""
        self._role, self._patience = role, settings.kafka.request_timeout_seconds
        self._raw = _consumer(settings, role, group=None)
        names = [topic.full_name(settings.stream.prefix) for topic in topics]
        with broker_errors(f"looking up {names}"):
            self._tps = [tp for name in names for tp in self._partitions(name)]
            self._raw.assign(self._tps)
            for tp, beginning in self._raw.beginning_offsets(self._tps).items():
                self._raw.seek(tp, beginning)

    def _partitions(self, name: str) -> list[TopicPartition]:
        partitions = self._raw.partitions_for_topic(name)
        if not partitions:
            raise BrokerRefusedError(f"topic {name} does not exist; create topics with 'tidemill topics --create'")
        return [TopicPartition(name, partition) for partition in sorted(partitions)]

    def poll(self, seconds: float = 0.1) -> list[Record]:
        """What is new, waiting at most `seconds`."""
        with broker_errors(f"polling as {self._role}"):
            try:
                return _poll(self._raw, seconds)
            except kafka_errors.OffsetOutOfRangeError as error:
                # Retention moved on under a slow reader: what is gone is gone, the rest is still to be read.
                for tp, beginning in self._raw.beginning_offsets(list(error.args[0])).items():
                    self._raw.seek(tp, beginning)
        return []

    def catch_up(self) -> Iterator[Record]:
        """Everything up to the end as it is at the call (committed records only).

        Raises:
            BrokerUnavailableError: Nothing more came for longer than a request may take.
        """
        with broker_errors(f"reading to the end as {self._role}"):
            ends = self._raw.end_offsets(self._tps)
        read, since = -1, time.monotonic()
        while any((self._raw.position(tp) or 0) < end for tp, end in ends.items()):
            yield from self.poll()
            position = sum(self._raw.position(tp) or 0 for tp in self._tps)
            if position != read:
                read, since = position, time.monotonic()
            elif time.monotonic() - since > self._patience:
                raise BrokerUnavailableError(f"reading to the end as {self._role}: nothing for {self._patience:.0f} s")

    def close(self) -> None:
        """Lets go of the connection."""
        self._raw.close(autocommit=False, timeout_ms=2000)


def read_topic(settings: Settings, role: str, *topics: Topic) -> list[Record]:
    """All committed records of the topics, by partition in offset order."""
    return list(iterate_topic(settings, role, *topics))


def iterate_topic(settings: Settings, role: str, *topics: Topic) -> Iterator[Record]:
    """Like `read_topic`, without holding them all."""
    follower = Follower(settings, role, topics)
    try:
        yield from follower.catch_up()
    finally:
        follower.close()


def read_range(settings: Settings, role: str, topic: Topic, partition: int, first: int, last: int) -> list[Record]:
    """The committed records of one partition with `first` <= offset <= `last`.

    Raises:
        BrokerRefusedError: `first` is no longer there.
    """
    raw = _consumer(settings, role, group=None)
    tp = TopicPartition(topic.full_name(settings.stream.prefix), partition)
    records: list[Record] = []
    try:
        with broker_errors(f"reading {tp.topic}[{partition}] {first}-{last}"):
            raw.assign([tp])
            raw.seek(tp, first)
            end = min(last + 1, raw.end_offsets([tp])[tp])
            while (raw.position(tp) or 0) < end:
                records += _poll(raw, 0.1)
    finally:
        raw.close(autocommit=False, timeout_ms=2000)
    return [record for record in records if record.offset <= last]


def read_newest(settings: Settings, role: str, topic: Topic, count: int = 1) -> list[Record]:
    """The last committed records of a topic with one partition, oldest first: `count` of them, if there are so many."""
    beginning, end = offset_range(settings, topic)[0]
    first, records = end, list[Record]()
    while len(records) < count and first > beginning:
        # Markers and aborted transactions take offsets too, so it is not known how far back `count` records reach.
        first = max(beginning, end - 4 * max(count, end - first))
        records = read_range(settings, role, topic, 0, first, end - 1)
    return records[-count:]


def _positions(offsets: Mapping[Partition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    # A plain int instead of OffsetAndMetadata makes kafka-python hang for ever.
    return {TopicPartition(*partition): OffsetAndMetadata(offset) for partition, offset in offsets.items()}


def next_offsets(records: Iterable[Record]) -> dict[Partition, int]:
    """The positions after these records: the highest offset of each partition + 1."""
    positions: dict[Partition, int] = {}
    for record in records:
        partition = (record.topic, record.partition)
        positions[partition] = max(positions.get(partition, 0), record.offset + 1)
    return positions


class Transaction:
    """What one transaction is to write. Obtained from `TransactionalProducer.transaction`."""

    def __init__(self, producer: KafkaProducer, prefix: str, source: str) -> None:
        self._producer, self._prefix, self._source = producer, prefix, source
        self._futures: list[Any] = []
        self._offsets: dict[Partition, int] = {}

    def send(
        self, topic: Topic, key: str, event: Event, trace_parent: str | None = None, headers: Headers = ()
    ) -> None:
        """Adds an event; `headers` come after those of every event."""
        standard = event_headers(event, self._source, trace_parent)
        self.send_bytes(topic, key.encode(), encode(event), standard + headers)

    def send_bytes(self, topic: Topic, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Adds a record as it is."""
        name = topic.full_name(self._prefix)
        with broker_errors(f"sending to {name}"):
            self._futures.append(self._producer.send(name, value=value, key=key, headers=list(headers)))

    def send_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """Moves the consumer's group to these positions (last processed + 1) when the transaction commits."""
        self._offsets.update(offsets)

    def _finish(self, consumer: GroupConsumer | None) -> None:
        with broker_errors("writing a transaction"):
            self._producer.flush()
            for future in self._futures:
                future.get(timeout=0)
            if consumer is not None and self._offsets:
                self._producer.send_offsets_to_transaction(_positions(self._offsets), consumer.group_metadata())


class TransactionalProducer:
    """Writes records and input positions together, or not at all. One per role; a newer one fences the older."""

    def __init__(self, settings: Settings, role: str) -> None:
        """Takes over the transactional id `PREFIX.ROLE`, aborting what a dead predecessor left open.

        Raises:
            BrokerUnavailableError: Kafka did not answer in time.
        """
        self._settings, self._role = settings, role
        options = _connection(settings, role) | {
            "transactional_id": settings.stream.identity(role),
            "transaction_timeout_ms": int(settings.kafka.transaction_timeout_seconds * 1000),
            "retry_backoff_ms": TRANSACTION_RETRY_BACKOFF_MS,
            "linger_ms": TRANSACTION_LINGER_MS,
            "batch_size": BATCH_BYTES,
            "max_request_size": MAX_INTERNAL_BYTES,
            "max_block_ms": int(settings.kafka.request_timeout_seconds * 1000),
            "compression_type": "lz4",
            "allow_auto_create_topics": False,
            "kafka_client": _PatientClient,
        }
        with broker_errors(f"opening transactions as {role}"):
            self._producer = KafkaProducer(**options)
            self._producer.init_transactions()

    @contextmanager
    def transaction(self, consumer: GroupConsumer | None = None) -> Iterator[Transaction]:
        """Commits at the end of the block; any exception inside aborts and rewinds `consumer`.

        Raises:
            FencedError: Another instance took over.
            RebalancedError: The consumer's partitions went to another member; aborted.
            CommitOutcomeUnknownError: The commit itself failed; only a restart can read the truth.
        """
        seconds = self._settings.kafka.commit_watchdog_seconds
        with _watchdog(seconds, "beginning a transaction"), broker_errors("beginning a transaction"):
            self._producer.begin_transaction()
        transaction = Transaction(
            self._producer, self._settings.stream.prefix, self._settings.stream.identity(self._role)
        )
        try:
            yield transaction
            with _watchdog(seconds, "writing a transaction"):
                transaction._finish(consumer)
        except FencedError:
            raise
        except BaseException:
            self._abort(consumer)
            raise
        self._commit()

    def _abort(self, consumer: GroupConsumer | None) -> None:
        try:
            with _watchdog(self._settings.kafka.commit_watchdog_seconds, "aborting a transaction"):
                self._producer.abort_transaction()
        except kafka_errors.KafkaError as error:
            raise CommitOutcomeUnknownError(f"aborting a transaction failed: {error}") from error
        if consumer is not None:
            consumer.rewind()

    def _commit(self) -> None:
        try:
            with _watchdog(self._settings.kafka.commit_watchdog_seconds, "committing a transaction"):
                self._producer.commit_transaction()
        except kafka_errors.KafkaError as error:
            translated = _translate(error, "committing a transaction")
            if isinstance(translated, FencedError):
                raise translated from error
            raise CommitOutcomeUnknownError(f"{translated}; a restart reads what became of it") from error

    def close(self) -> None:
        """Ends the connection; an open transaction is left to the next instance."""
        with broker_errors("closing a producer"):
            self._producer.close(timeout=5)


@contextmanager
def _watchdog(seconds: float, doing: str) -> Iterator[None]:
    """Ends the process when kafka-python never returns: its transaction calls have no time-out of their own."""

    def bite() -> None:
        log.critical("watchdog", doing=doing, seconds=seconds)
        os._exit(ExitCode.OUTCOME_UNKNOWN)

    timer = threading.Timer(seconds, bite)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Delivery:
    """One record on its way."""

    def __init__(self, future: Any, where: str) -> None:
        self._future, self._where = future, where

    def wait(self, seconds: float) -> None:
        """Returns once Kafka has acknowledged the record.

        Raises:
            BrokerUnavailableError: Not within `seconds`.
            BrokerRefusedError: Never, e.g. too large.
        """
        with broker_errors(f"sending to {self._where}"):
            self._future.get(timeout=seconds)

    def on_done(self, callback: Callable[[bool], None]) -> None:
        """Calls back with True for acknowledged, False for lost; from the producer's thread."""
        self._future.add_callback(lambda _: callback(True))
        self._future.add_errback(lambda _: callback(False))


class Producer:
    """An idempotent producer outside transactions: for publishing, commands and samples."""

    def __init__(self, settings: Settings, role: str, delivery_seconds: float = 30.0) -> None:
        """Raises BrokerUnavailableError if Kafka did not answer."""
        self._settings, self._source = settings, settings.stream.identity(role)
        # A delivery is one request at least, and a repeat if that is lost.
        request_seconds = min(delivery_seconds / 2, settings.kafka.request_timeout_seconds)
        options = _connection(settings, role) | {
            "linger_ms": LINGER_MS,
            "batch_size": BATCH_BYTES,
            "max_request_size": MAX_INTERNAL_BYTES,
            "max_block_ms": int(settings.kafka.request_timeout_seconds * 1000),
            "delivery_timeout_ms": int(delivery_seconds * 1000),
            "request_timeout_ms": int(request_seconds * 1000),
            "compression_type": "lz4",
            "allow_auto_create_topics": False,
        }
        with broker_errors(f"connecting {role} to {settings.bootstrap_servers()}"):
            self._producer = KafkaProducer(**options)

    def send(self, topic: Topic, key: str, event: Event, trace_parent: str | None = None) -> Delivery:
        """Sends an event."""
        return self.send_bytes(topic, key.encode(), encode(event), event_headers(event, self._source, trace_parent))

    def send_bytes(self, topic: Topic, key: bytes | None, value: bytes, headers: Headers = ()) -> Delivery:
        """Sends a record as it is.

        Raises:
            BrokerUnavailableError: No metadata or buffer space in time.
            BrokerRefusedError: Larger than any topic takes.
        """
        name = topic.full_name(self._settings.stream.prefix)
        with broker_errors(f"sending to {name}"):
            return Delivery(self._producer.send(name, value=value, key=key, headers=list(headers)), name)

    def flush(self, seconds: float) -> None:
        """Waits until everything sent is acknowledged or lost."""
        with broker_errors("flushing"):
            self._producer.flush(timeout=seconds)

    def close(self, seconds: float = 5.0) -> None:
        """Delivers what it can within `seconds`, then lets go."""
        with broker_errors("closing a producer"):
            self._producer.close(timeout=seconds)


class Admin:
    """Topics and groups."""

    def __init__(self, settings: Settings) -> None:
        """Raises BrokerUnavailableError if Kafka did not answer."""
        self._settings = settings
        with broker_errors(f"connecting to {settings.bootstrap_servers()}"):
            self._admin = KafkaAdminClient(**_connection(settings, "admin"))

    def create_topics(self, topics: Iterable[Topic] = ALL_TOPICS) -> list[str]:
        """Creates the topics that are missing; returns their names. Calling it twice, or at once, does no harm."""
        prefix = self._settings.stream.prefix
        with broker_errors("listing topics"):
            present = set(self._admin.list_topics())
        missing = {topic.full_name(prefix): topic for topic in topics if topic.full_name(prefix) not in present}
        created = [name for name, topic in missing.items() if self._create(name, topic)]
        if missing:
            with broker_errors(f"waiting for topics {sorted(missing)}"):
                self._admin.wait_for_topics(sorted(missing))
        return created

    def _create(self, name: str, topic: Topic) -> bool:
        kafka = self._settings.kafka
        partitions = kafka.labeled_partitions if topic is REVIEWS_LABELED else topic.partitions
        wanted = {
            "num_partitions": partitions,
            "replication_factor": kafka.replication_factor,
            "configs": topic.config(),
        }
        with broker_errors(f"creating topic {name}"):
            try:
                self._admin.create_topics({name: wanted})
            except kafka_errors.TopicAlreadyExistsError:
                return False  # another service was quicker
        return True

    def partitions(self, topic: Topic) -> int:
        """How many partitions the topic has; 0 if it does not exist."""
        name = topic.full_name(self._settings.stream.prefix)
        with broker_errors(f"describing topic {name}"):
            if name not in self._admin.list_topics():
                return 0
            return len(self._admin.describe_topics([name])[0]["partitions"])

    def group_offsets(self, role: str) -> dict[Partition, int]:
        """Positions that the group `PREFIX.ROLE` has committed."""
        group = self._settings.stream.identity(role)
        with broker_errors(f"reading offsets of {group}"):
            offsets = self._admin.list_group_offsets([group]).get(group, {})
        return {(tp.topic, tp.partition): position.offset for tp, position in offsets.items() if position.offset >= 0}

    def close(self) -> None:
        """Lets go of the connection."""
        self._admin.close()


def offset_range(settings: Settings, topic: Topic) -> dict[int, tuple[int, int]]:
    """Partition -> (oldest offset, end of the committed records)."""
    follower = Follower(settings, "offsets", [topic])
    try:
        with broker_errors(f"reading offsets of {topic.name}"):
            raw = follower._raw
            beginnings, ends = raw.beginning_offsets(follower._tps), raw.end_offsets(follower._tps)
    finally:
        follower.close()
    return {tp.partition: (beginnings[tp], ends[tp]) for tp in follower._tps}
