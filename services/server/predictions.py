"""Samples of the answers given, for whoever watches quality: `predictions.served`."""

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from services.server.engine import Prediction
from shared.events import Event, ServedPrediction, utc_now
from shared.metrics import ServerMetrics
from shared.settings import ServerSettings
from shared.topics import PREDICTIONS_SERVED, Topic


class Offers(Protocol):
    """What takes events without making anybody wait."""

    def offer(self, topic: Topic, key: str, make: Callable[[], Event], lost: Callable[[], None]) -> None:
        """Sends when it can; calls `lost` if that is never."""


class PredictionSampler:
    """Offers a random share of the answers; what Kafka does not take is counted and forgotten."""

    def __init__(self, settings: ServerSettings, outbox: Offers, metrics: ServerMetrics) -> None:
        self._share, self._replica = settings.prediction_sample, settings.replica_id
        self._outbox, self._lost = outbox, metrics.predictions_dropped.inc

    def keep(self, predictions: Sequence[Prediction]) -> None:
        """Offers a share of them."""
        for prediction in predictions:
            if random.random() < self._share:
                make = served(prediction, self._replica, utc_now())
                self._outbox.offer(PREDICTIONS_SERVED, prediction.prediction_id, make, self._lost)


def served(prediction: Prediction, replica_id: str, at: datetime) -> Callable[[], ServedPrediction]:
    """Makes the event of one answer, later; of the text only its digest waits.

    Thousands of events wait while Kafka is gone, and with texts of the longest kind they would fill the memory.
    """
    answer = prediction.answer
    return partial(
        ServedPrediction,
        prediction_id=prediction.prediction_id,
        version=prediction.version,
        text_sha256=hashlib.sha256(answer.text.encode()).hexdigest(),
        label=answer.label,
        score=answer.score,
        scores=answer.scores,
        role=prediction.role,
        replica_id=replica_id,
        served_at=at,
    )
