"""What the server sends to Kafka: connected in the background, so that an answer never waits for a broker."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from shared.errors import BrokerUnavailableError, TidemillError
from shared.events import Event
from shared.kafka import Producer
from shared.retry import Backoff, Stopped
from shared.settings import Settings
from shared.topics import Topic

log = structlog.get_logger("outbox")

WAITING_EVENTS = 10_000
ACKNOWLEDGE_SECONDS = 10.0
LOOK_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 2.0  # feedback is refused until Kafka is there again
JSON = (("content-type", b"application/json"),)


def _ignore() -> None:
    """For events whose loss nobody counts."""


@dataclass(frozen=True, slots=True)
class _Parcel:
    topic: Topic
    key: str
    make: Callable[[], Event]
    lost: Callable[[], None]


class Outbox:
    """One producer with a bounded queue before it. `offer` never waits; `deliver` waits for Kafka's acknowledgement."""

    def __init__(self, settings: Settings, stopping: threading.Event) -> None:
        self._settings, self._stopping = settings, stopping
        self._waiting: queue.Queue[_Parcel] = queue.Queue(WAITING_EVENTS)
        self._producer: Producer | None = None
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def offer(self, topic: Topic, key: str, make: Callable[[], Event], lost: Callable[[], None] = _ignore) -> None:
        """Sends when it can; `lost` is called if that is never. `make` runs in the outbox's thread."""
        try:
            self._waiting.put_nowait(_Parcel(topic, key, make, lost))
        except queue.Full:
            lost()

    def deliver(self, topic: Topic, key: str, value: bytes) -> None:
        """Sends JSON and returns once Kafka has acknowledged it. Blocks: call it off the loop.

        Raises:
            BrokerUnavailableError: Not now.
            BrokerRefusedError: Never.
        """
        if self._producer is None:
            raise BrokerUnavailableError(f"Kafka at {self._settings.bootstrap_servers()} has not answered yet")
        self._producer.send_bytes(topic, key.encode(), value, JSON).wait(ACKNOWLEDGE_SECONDS)

    def close(self) -> None:
        """Delivers what it can within a few seconds; what is left is lost, and counted. `stopping` must be set."""
        self._thread.join(LOOK_SECONDS * 2 + self._settings.kafka.bootstrap_timeout_seconds)
        self._lose_the_rest()
        if self._producer is not None:
            try:
                self._producer.close(2.0)
            except TidemillError as error:
                log.warning("outbox_closed_early", error=str(error))

    def _run(self) -> None:
        try:
            self._connect()
        except Stopped:
            return
        while not self._stopping.is_set() or not self._waiting.empty():
            try:
                self._post(self._waiting.get(timeout=LOOK_SECONDS))
            except queue.Empty:
                continue

    def _connect(self) -> None:
        """Refusals are waited out too: answers go on, and rights can be granted later."""
        backoff = Backoff(self._stopping, LONGEST_WAIT_SECONDS)
        while self._producer is None:
            try:
                self._producer = Producer(self._settings, "server")
            except TidemillError as error:
                log.warning("waiting", doing="connecting the outbox", error=str(error))
                backoff.wait()

    def _lose_the_rest(self) -> None:
        left = 0
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait().lost()
                left += 1
        if left:
            log.warning("events_lost", events=left, reason="stopped before Kafka took them")

    def _post(self, parcel: _Parcel) -> None:
        assert self._producer is not None  # set before the first parcel is taken
        try:
            delivery = self._producer.send(parcel.topic, parcel.key, parcel.make())
        except Exception as error:
            # Whatever it was, the next event must still get its chance.
            log.warning("event_lost", topic=parcel.topic.name, error=str(error))
            parcel.lost()
        else:
            delivery.on_done(lambda acknowledged: None if acknowledged else parcel.lost())
