"""What waits for Kafka: never an answer, never more than so many events, and nothing is lost unseen."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.local import ports
from services.server import outbox as module
from services.server.outbox import Outbox
from shared.errors import BrokerUnavailableError
from shared.events import ServerPhase, ServerState, utc_now
from shared.settings import Settings, load_settings
from shared.topics import SERVERS_STATE


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    stopping = threading.Event()
    yield stopping
    stopping.set()


def state(replica_id: str = "r") -> ServerState:
    return ServerState(replica_id=replica_id, version=None, phase=ServerPhase.WAITING, at=utc_now())


def settings_without_kafka() -> Settings:
    port = ports.choose(("kafka",), {})["kafka"]
    return load_settings(kafka={"bootstrap_servers": f"127.0.0.1:{port}", "bootstrap_timeout_seconds": 0.2})


def not_called() -> ServerState:
    raise AssertionError("an event was made for nobody")


class Losses:
    """Counts calls, whichever thread they come from."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_without_kafka_events_wait_up_to_a_bound_and_the_others_are_counted(
    stopping: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_EVENTS", 3)
    outbox, lost = Outbox(settings_without_kafka(), stopping), Losses()
    for _ in range(10):
        outbox.offer(SERVERS_STATE, "r", not_called, lost)
    assert lost.count == 7
    stopping.set()
    outbox.close()
    assert lost.count == 10


def test_without_kafka_a_delivery_is_refused_at_once(stopping: threading.Event) -> None:
    outbox = Outbox(settings_without_kafka(), stopping)
    with pytest.raises(BrokerUnavailableError, match="has not answered yet"):
        outbox.deliver(SERVERS_STATE, "r", b"{}")


class FakeDelivery:
    """`acknowledged` at once."""

    def __init__(self, acknowledged: bool) -> None:
        self._acknowledged = acknowledged

    def on_done(self, callback: Callable[[bool], None]) -> None:
        callback(self._acknowledged)


class FakeProducer:
    """Takes every event but those of the replica "unwanted", and never acknowledges those of "unheard"."""

    def __init__(self, *_: object) -> None:
        self.sent: list[str] = []
        self.last = threading.Event()

    def send(self, topic: object, key: str, event: ServerState) -> FakeDelivery:
        if key == "unwanted":
            raise BrokerUnavailableError("no room")
        self.sent.append(key)
        if key == "last":
            self.last.set()
        return FakeDelivery(acknowledged=key != "unheard")

    def close(self, seconds: float) -> None:
        """Nothing to let go of."""


def test_an_event_that_cannot_be_made_sent_or_acknowledged_is_counted_and_the_next_one_sent(
    stopping: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer: Any = FakeProducer()
    monkeypatch.setattr(module, "Producer", lambda *_: producer)
    outbox, lost = Outbox(settings_without_kafka(), stopping), Losses()
    outbox.offer(SERVERS_STATE, "unmade", not_called, lost)
    for key in ("unwanted", "unheard", "last"):
        outbox.offer(SERVERS_STATE, key, state, lost)
    assert producer.last.wait(30)
    stopping.set()
    outbox.close()
    assert producer.sent == ["unheard", "last"]
    assert lost.count == 3
