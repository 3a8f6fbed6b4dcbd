"""An idempotent producer outside transactions."""

from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer

from shared.envelope import Headers, encode, event_headers
from shared.events import Event
from shared.kafka.connection import connection
from shared.kafka.failures import broker_errors
from shared.settings import Settings
from shared.topics import MAX_INTERNAL_BYTES, Topic

LINGER_MS = 5
BATCH_BYTES = 128 * 1024


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
        options = connection(settings, role) | {
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
