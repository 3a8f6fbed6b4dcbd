import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.server.feedback import Feedback, UnknownPredictionError
from services.server.store import PredictionStore
from shared.errors import BrokerUnavailableError
from shared.events import LabeledReview
from shared.labels import Label, UnknownLabelError
from shared.metrics import ServerMetrics
from shared.settings import StreamSettings
from shared.topics import REVIEWS_LABELED, Topic
from tests.unit.server.test_store import prediction


class FakeOutbox:
    def __init__(self, gone: bool = False) -> None:
        self.sent: list[tuple[Topic, str, bytes]] = []
        self._gone = gone

    def deliver(self, topic: Topic, key: str, value: bytes) -> None:
        if self._gone:
            raise BrokerUnavailableError("Kafka has not answered")
        self.sent.append((topic, key, value))


def feedback(folder: Path, outbox: FakeOutbox) -> tuple[Feedback, CollectorRegistry]:
    registry, store = CollectorRegistry(), PredictionStore(folder / "store.sqlite", rows=10)
    store.keep([prediction("p1", "the text as the model read it")])
    return Feedback(StreamSettings(), store, outbox, ServerMetrics(registry)), registry


def test_a_label_becomes_a_review_of_the_text_that_was_answered(tmp_path: Path) -> None:
    outbox = FakeOutbox()
    reports, registry = feedback(tmp_path, outbox)
    assert reports.report("p1", "neg") == "negative"
    ((topic, key, value),) = outbox.sent
    review = LabeledReview.model_validate(json.loads(value))
    assert (topic, key) == (REVIEWS_LABELED, "p1")
    assert (review.text, review.label) == ("the text as the model read it", "negative")
    assert (review.id, review.prediction_id, review.source) == ("p1", "p1", "feedback")
    assert registry.get_sample_value("tidemill_feedback_total") == 1


@pytest.mark.parametrize("label", ["positive", "POS", " Pos ", "1", 1, 1.0, True, "true"])
def test_a_label_may_be_written_as_on_the_topic(tmp_path: Path, label: Label) -> None:
    reports, _ = feedback(tmp_path, FakeOutbox())
    assert reports.report("p1", label) == "positive"


def test_unknown_labels_and_predictions_are_not_published(tmp_path: Path) -> None:
    outbox = FakeOutbox()
    reports, _ = feedback(tmp_path, outbox)
    with pytest.raises(UnknownLabelError, match="'so-so' is unknown"):
        reports.report("p1", "so-so")
    with pytest.raises(UnknownPredictionError):
        reports.report("p2", "negative")
    assert outbox.sent == []


def test_what_kafka_did_not_take_is_not_counted(tmp_path: Path) -> None:
    reports, registry = feedback(tmp_path, FakeOutbox(gone=True))
    with pytest.raises(BrokerUnavailableError):
        reports.report("p1", "positive")
    assert registry.get_sample_value("tidemill_feedback_total") == 0
