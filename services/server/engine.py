"""From texts to answers: clean, batch, infer, name, remember. A request is answered whole by the version it names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.server.batcher import Batcher
from services.server.card import Card
from services.server.slots import Slot, Slots
from shared.classifier.predictor import Scores
from shared.errors import RecordError
from shared.events import new_id
from shared.metrics import ServerMetrics
from shared.settings import Settings
from shared.text import normalise, prepare


class OtherVersionError(RecordError):
    """The version asked for does not serve here."""


@dataclass(frozen=True, slots=True)
class Question:
    """Texts to be answered by one model within so many seconds. `version`: no other may answer."""

    texts: Sequence[str]
    timeout_seconds: float
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says about one text. `text` is as the model read it; `scores` are calibrated probabilities."""

    text: str
    label: str
    scores: dict[str, float]
    truncated: bool

    @property
    def score(self) -> float:
        """Probability of the label."""
        return self.scores[self.label]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer with the name under which its true label can be reported."""

    prediction_id: str
    version: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Predictions:
    """One request's answers, in the order of its texts, all by the model of the card, computed after the plan."""

    card: Card
    plan: str
    items: tuple[Prediction, ...]


Keep = Callable[[Sequence[Prediction]], None]
"""Takes note of answers given. Must neither block nor raise."""


class Engine:
    """Answers requests with whatever model is in service."""

    def __init__(self, settings: Settings, slots: Slots, metrics: ServerMetrics, keepers: Sequence[Keep] = ()) -> None:
        self._slots, self._metrics, self._keepers = slots, metrics, keepers
        self._clean = prepare if settings.ingestor.mask_personal_data else normalise
        self.batcher: Batcher[Answer] = Batcher(
            self._ask,
            metrics,
            token_budget=settings.model.token_budget,
            queue_texts=settings.server.queue_texts,
            timeout_seconds=settings.server.request_timeout_seconds,
        )

    async def predict(self, question: Question) -> Predictions:
        """Answers all texts by one model.

        Raises:
            NoModelError: Nothing has been promoted yet.
            OtherVersionError: The version asked for does not serve.
            OverloadedError, TimedOutError: Too much is waiting.
        """
        with self._slots.use() as slot:
            if question.version not in (None, slot.card.version):
                raise OtherVersionError(f"version {question.version} does not serve; {slot.card.version} does")
            answers = await self.batcher.submit(slot, question.texts)
            plan = slot.model.plan
        items = tuple(Prediction(new_id(), slot.card.version, answer) for answer in answers)
        self._metrics.predictions.labels(slot.card.version).inc(len(items))
        for keep in self._keepers:
            keep(items)
        return Predictions(slot.card, plan, items)

    def _ask(self, slot: Slot, texts: Sequence[str]) -> list[Answer]:
        """Runs in the worker thread: cleaning and tokenising cost time too."""
        cleaned = [self._clean(text) for text in texts]
        scores = slot.model.predict(cleaned)
        self._metrics.tokens.inc(int(scores.tokens.sum()))
        self._metrics.truncated.inc(int(scores.truncated.sum()))
        return answers_of(cleaned, scores)


def answers_of(texts: Sequence[str], scores: Scores) -> list[Answer]:
    """One answer a text, in order.

    Raises:
        ValueError: The model gave another number of answers, or one that is not a number.
    """
    if len(scores) != len(texts) or not np.isfinite(scores.probabilities).all():
        raise ValueError(f"the model gave {len(scores)} answers to {len(texts)} texts, or one that is not finite")
    rows = zip(texts, scores.predicted_labels, scores.probabilities.tolist(), scores.truncated.tolist(), strict=True)
    return [Answer(text, label, dict(zip(scores.labels, row, strict=True)), cut) for text, label, row, cut in rows]
