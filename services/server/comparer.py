"""Asks champion and challenger about the same texts, after the answers have left and only while nothing waits.

Both are asked alone, one after the other in an order of chance, so that their times may be compared too.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import structlog

from services.server.batcher import Batcher
from services.server.engine import Answer, Prediction, answers_of
from services.server.slots import Challenger, ServedModel, Slot, Slots
from services.server.tally import Pair
from shared.errors import TidemillError
from shared.events import ServingRole
from shared.metrics import CanaryMetrics
from shared.settings import Settings

log = structlog.get_logger("comparer")

PAUSE_SECONDS = 0.005  # lets an answer leave before its text is asked again


class ChallengerFailedError(TidemillError):
    """The challenger did not answer a text that the champion answers."""


class Comparer:
    """The owner of the texts that wait to be compared."""

    def __init__(self, settings: Settings, slots: Slots, batcher: Batcher[Answer], metrics: CanaryMetrics) -> None:
        self._settings, self._budget = settings.server.canary, settings.model.token_budget
        self._slots, self._batcher, self._metrics = slots, batcher, metrics
        self._copies: deque[str] = deque()
        self._arrived = asyncio.Event()

    def keep(self, predictions: Sequence[Prediction]) -> None:
        """Takes a share of the texts answered; what finds no room is counted and forgotten."""
        for prediction in predictions:
            if random.random() < self._share(prediction.role):
                self._copy(prediction.answer.text)
        if self._copies:
            self._arrived.set()

    def _share(self, role: ServingRole) -> float:
        challenger = self._slots.challenger
        if challenger is None:
            return 0.0
        if challenger.canary.role is ServingRole.SHADOW:
            return challenger.canary.share if role is ServingRole.CHAMPION else 0.0
        return self._settings.compare_share if role is ServingRole.CANARY else 0.0

    def _copy(self, text: str) -> None:
        if len(self._copies) < self._settings.waiting_copies:
            self._copies.append(text)
        else:
            self._metrics.copies_dropped.inc()

    async def run(self) -> None:
        """Compares until cancelled. Every answer given wakes it, so it looks again when the model comes to rest."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(PAUSE_SECONDS)
            while self._copies and self._batcher.is_idle:
                await self._next(self._copies.popleft())

    async def _next(self, text: str) -> None:
        challenger, champion = self._slots.challenger, self._slots.current
        if challenger is None or champion is None:
            self._copies.clear()
            return
        try:
            with challenger.slot.occupied(), champion.occupied():
                ask = partial(compare, text, champion.model, challenger.slot.model, self._budget)
                self._paired(challenger, champion, await self._batcher.aside(ask))
        except ChallengerFailedError as error:
            challenger.tally.failed()
            self._metrics.failed(challenger.canary.version, challenger.canary.role)
            log.warning("challenger_failed", version=challenger.canary.version, error=str(error))
        except Exception as error:
            # Whatever the champion fails on was answered, or refused, when it was asked for.
            log.warning("not_compared", error=repr(error))

    def _paired(self, challenger: Challenger, champion: Slot, pair: Pair) -> None:
        challenger.tally.paired(pair)
        self._metrics.compared(
            challenger.canary.version,
            challenger.canary.role,
            agrees=pair.agrees,
            difference=pair.difference,
            seconds=pair.seconds,
            champion_seconds=pair.champion_seconds,
        )


def compare(text: str, champion: ServedModel, challenger: ServedModel, budget: int) -> Pair:
    """Asks both about one text.

    Raises:
        ChallengerFailedError: Only the champion answers. What the champion raises is raised as it is.
    """
    turns = [partial(_timed, text, champion, budget), partial(_challenged, text, challenger, budget)]
    if random.random() < 0.5:  # whoever comes second finds the machine warmer
        (theirs, theirs_seconds), (ours, ours_seconds) = turns[1](), turns[0]()
    else:
        (ours, ours_seconds), (theirs, theirs_seconds) = turns[0](), turns[1]()
    difference = abs(ours.score - theirs.scores[ours.label])
    return Pair(ours.label == theirs.label, difference, theirs_seconds, ours_seconds)


def _challenged(text: str, model: ServedModel, budget: int) -> tuple[Answer, float]:
    try:
        return _timed(text, model, budget)
    except Exception as error:
        raise ChallengerFailedError(repr(error)) from error


def _timed(text: str, model: ServedModel, budget: int) -> tuple[Answer, float]:
    began = time.perf_counter()
    (answer,) = answers_of([text], model.predict([text], budget))
    return answer, time.perf_counter() - began
