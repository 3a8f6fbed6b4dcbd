"""Records and input positions written together, or not at all."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from shared.envelope import Headers, encode, event_headers
from shared.errors import CommitOutcomeUnknownError, ExitCode, FencedError
from shared.events import Event
from shared.kafka.connection import connection
from shared.kafka.failures import broker_errors, translate
from shared.kafka.group import GroupConsumer
from shared.kafka.producer import BATCH_BYTES
from shared.kafka.records import Partition, positions
from shared.settings import Settings
from shared.topics import MAX_INTERNAL_BYTES, Topic

log = structlog.get_logger("kafka")

RETRY_BACKOFF_MS = 5
# A transaction flushes at its end; before, a batch is only sent when it is full.
LINGER_MS = 500


class _PatientClient(KafkaNetClient):  # type: ignore[misc]
    """Says "not ready" where kafka-python raises, so that its sender tries again instead of losing the request."""

    def await_ready(self, node_id: int, timeout_ms: int = 30_000) -> bool:
        try:
            return bool(super().await_ready(node_id, timeout_ms))
        except kafka_errors.KafkaConnectionError:
            time.sleep(0.05)
            return False


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
                self._producer.send_offsets_to_transaction(positions(self._offsets), consumer.group_metadata())


class TransactionalProducer:
    """Writes records and input positions together, or not at all. One per role; a newer one fences the older."""

    def __init__(self, settings: Settings, role: str) -> None:
        """Takes over the transactional id `PREFIX.ROLE`, aborting what a dead predecessor left open.

        Raises:
            BrokerUnavailableError: Kafka did not answer in time.
        """
        self._settings, self._role = settings, role
        options = connection(settings, role) | {
            "transactional_id": settings.stream.identity(role),
            "transaction_timeout_ms": int(settings.kafka.transaction_timeout_seconds * 1000),
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            "linger_ms": LINGER_MS,
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
            translated = translate(error, "committing a transaction")
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
