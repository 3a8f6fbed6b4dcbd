"""A true label for a served prediction becomes a labelled review like any other."""

from typing import Protocol

from services.server.store import PredictionStore
from shared.envelope import encode
from shared.errors import RecordError
from shared.events import LabeledReview, utc_now
from shared.labels import Label, LabelMap
from shared.metrics import ServerMetrics
from shared.settings import StreamSettings
from shared.topics import REVIEWS_LABELED, Topic

SOURCE = "feedback"


class UnknownPredictionError(RecordError):
    """No such prediction is remembered."""


class Delivers(Protocol):
    """What sends to Kafka and waits for the acknowledgement."""

    def deliver(self, topic: Topic, key: str, value: bytes) -> None:
        """Raises BrokerUnavailableError if Kafka does not acknowledge in time."""


class Feedback:
    """Publishes labels for predictions that this replica remembers."""

    def __init__(
        self, stream: StreamSettings, store: PredictionStore, outbox: Delivers, metrics: ServerMetrics
    ) -> None:
        self._labels = LabelMap(stream.labels, stream.aliases)
        self._store, self._outbox, self._metrics = store, outbox, metrics

    def report(self, prediction_id: str, label: Label) -> str:
        """Publishes one label and returns its class name once Kafka has it. Blocks: call it off the loop.

        The review's id is that of the prediction, so that a repeated report is a duplicate and counts once.

        Raises:
            UnknownLabelError, UnknownPredictionError: The report is wrong; repeating it will not help.
            BrokerUnavailableError: Nothing was promised; report again later.
        """
        name = self._labels.class_name(label)
        if (remembered := self._store.find(prediction_id)) is None:
            raise UnknownPredictionError(f"prediction {prediction_id!r} is not remembered here; publish text and label")
        review = LabeledReview(
            text=remembered.text,
            label=name,
            id=prediction_id,
            source=SOURCE,
            created_at=utc_now(),
            prediction_id=prediction_id,
        )
        self._outbox.deliver(REVIEWS_LABELED, prediction_id, encode(review))
        self._metrics.feedback.inc()
        return name
