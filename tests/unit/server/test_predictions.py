import hashlib
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from services.server.predictions import PredictionSampler, served
from shared.events import Event, ServedPrediction, utc_now
from shared.metrics import ServerMetrics
from shared.settings import ServerSettings
from shared.topics import PREDICTIONS_SERVED, Topic
from tests.unit.server.test_store import prediction


class FakeOutbox:
    def __init__(self, full: bool = False) -> None:
        self.events: list[Event] = []
        self._full = full

    def offer(self, topic: Topic, key: str, make: Callable[[], Event], lost: Callable[[], None]) -> None:
        assert topic is PREDICTIONS_SERVED
        if self._full:
            lost()
        else:
            self.events.append(make())


def sampled(share: float, outbox: FakeOutbox) -> CollectorRegistry:
    registry = CollectorRegistry()
    sampler = PredictionSampler(ServerSettings(prediction_sample=share), outbox, ServerMetrics(registry))
    sampler.keep([prediction(str(number), "some text") for number in range(1000)])
    return registry


def test_every_answer_is_offered_without_its_text() -> None:
    outbox = FakeOutbox()
    sampled(1.0, outbox)
    assert len(outbox.events) == 1000
    event = outbox.events[0]
    assert isinstance(event, ServedPrediction)
    assert event.text_sha256 == hashlib.sha256(b"some text").hexdigest()
    assert "some text" not in event.model_dump_json()
    assert (event.version, event.label, event.score) == ("7", "positive", 0.9)


def test_a_share_is_a_share() -> None:
    outbox = FakeOutbox()
    sampled(0.5, outbox)
    assert 350 < len(outbox.events) < 650  # 9 standard deviations
    nobody = FakeOutbox()
    sampled(0.0, nobody)
    assert nobody.events == []


def test_what_is_not_taken_is_counted() -> None:
    registry = sampled(1.0, FakeOutbox(full=True))
    assert registry.get_sample_value("tidemill_served_predictions_dropped_total") == 1000


def test_of_an_answer_that_waits_for_kafka_no_text_waits() -> None:
    answered = prediction("a", "a long text " * 4000)
    make = served(answered, "replica", utc_now())
    assert isinstance(make, partial)
    assert all(size(held) < 500 for held in make.keywords.values())
    assert make().text_sha256 == hashlib.sha256(answered.answer.text.encode()).hexdigest()


def size(held: object) -> int:
    return len(repr(held))
