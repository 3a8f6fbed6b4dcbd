"""From texts to answers: clean, batch, infer, name, remember. A request is answered whole by the version it names.

A canary answers its share of the callers, as long as the champion could still answer after it. What it fails on, or
is not expected to answer soon enough, the champion answers instead.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.server.batcher import Batcher, UnfinishedError
from services.server.card import Card
from services.server.slots import Challenger, Slot, Slots
from services.server.stickiness import is_in_share
from services.server.waiting import Flow
from shared.classifier.capability import token_budget
from shared.classifier.predictor import Scores
from shared.errors import DeviceLostError, RecordError, RetryableError
from shared.events import ServingRole, new_id
from shared.metrics import ServerMetrics
from shared.settings import Settings
from shared.text import normalise, prepare


class OtherVersionError(RecordError):
    """The version asked for does not serve here."""

    @classmethod
    def of(cls, versions: Sequence[str]) -> "OtherVersionError":
        """Args: versions: those that may be asked for."""
        return cls(f"that version does not serve; to be asked for: {' and '.join(versions)}")


@dataclass(frozen=True, slots=True)
class Question:
    """Texts to be answered by one model within so many seconds.

    Attributes:
        version: No other may answer.
        caller: Who asks, the same word each time; None: the champion's whatever the canary's share.
        flow: The stream that it is a line of.
    """

    texts: Sequence[str]
    timeout_seconds: float
    version: str | None = None
    caller: str | None = None
    flow: Flow | None = None


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
    role: ServingRole = ServingRole.CHAMPION


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
        self._slots, self._metrics, self._keepers = slots, metrics, list(keepers)
        slots.when_retired(metrics.keep_versions)
        self._canary = settings.server.canary
        self._clean = prepare if settings.ingestor.mask_personal_data else normalise
        self.batcher: Batcher[Answer] = Batcher(
            self._ask,
            metrics,
            token_budget=token_budget(settings.model),
            queue_tokens=settings.server.queue_tokens,
            flowing_tokens=int(settings.server.bulk_queue_share * settings.server.queue_tokens),
        )

    @property
    def versions(self) -> tuple[str, ...]:
        """As `Slots.versions`."""
        return self._slots.versions

    def also_tell(self, keep: Keep) -> None:
        """One more who takes note of answers given."""
        self._keepers.append(keep)

    async def predict(self, question: Question) -> Predictions:
        """Answers all texts by one model.

        Raises:
            NoModelError: Nothing has been promoted yet.
            OtherVersionError: The version asked for does not serve.
            OverloadedError, TooLateError: Too much is waiting, or for too long.
        """
        challenger = self._slots.challenger
        if challenger is None or not self._is_for(challenger, question):
            return await self._by_champion(question)
        if question.version is not None:
            return await self._by_challenger(challenger, question)
        if not self._is_time_for_both(challenger, question):
            self._metrics.canary.passed_over(challenger.canary.version)
            return await self._by_champion(question)
        began = time.monotonic()
        try:
            seconds = self._canary.patience_share * question.timeout_seconds
            return await self._by_challenger(challenger, replace(question, timeout_seconds=seconds))
        except DeviceLostError:
            raise
        except Exception as error:
            left = question.timeout_seconds - (time.monotonic() - began)
            return await self._instead(challenger, replace(question, timeout_seconds=left), error)

    def _is_for(self, challenger: Challenger, question: Question) -> bool:
        canary = challenger.canary
        if question.version is not None or question.caller is None:
            return question.version == canary.version
        if canary.role is not ServingRole.CANARY or challenger.tally.counts.trouble(self._canary):
            return False
        return is_in_share(canary.version, question.caller, canary.share)

    def _is_time_for_both(self, challenger: Challenger, question: Question) -> bool:
        """Whether the canary is expected to answer within its part of the time, and the champion within the rest."""
        seconds, champion = self._canary.patience_share * question.timeout_seconds, self._slots.current
        return (
            champion is not None
            and self.batcher.is_in_time(challenger.slot, question.texts, seconds)
            and self.batcher.is_in_time(champion, question.texts, question.timeout_seconds - seconds)
        )

    async def _by_champion(self, question: Question) -> Predictions:
        with self._slots.use() as slot:
            if question.version not in (None, slot.card.version):
                raise OtherVersionError.of(self.versions)
            return await self._answer(slot, ServingRole.CHAMPION, question)

    async def _by_challenger(self, challenger: Challenger, question: Question) -> Predictions:
        with challenger.slot.occupied():
            found = await self._answer(challenger.slot, ServingRole.CANARY, question)
        challenger.tally.answered(len(found.items))
        return found

    async def _instead(self, challenger: Challenger, question: Question, error: Exception) -> Predictions:
        """The champion's answer. Of the canary only what it was asked says something, not how much was waiting."""
        if isinstance(error, UnfinishedError) or not isinstance(error, RetryableError):
            challenger.tally.failed()
            self._metrics.canary.failed(challenger.canary.version, ServingRole.CANARY)
        return await self._by_champion(question)

    async def _answer(self, slot: Slot, role: ServingRole, question: Question) -> Predictions:
        """The slot must be occupied."""
        began = time.perf_counter()
        answers = await self.batcher.submit(slot, question.texts, question.timeout_seconds, question.flow)
        version = slot.card.version
        items = tuple(Prediction(new_id(), version, answer, role) for answer in answers)
        self._metrics.predictions.labels(version).inc(len(items))
        self._metrics.canary.answered(version, role, len(items), time.perf_counter() - began)
        for keep in self._keepers:
            keep(items)
        return Predictions(slot.card, slot.model.plan, items)

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
