"""Asks champion and challenger about the same texts, after the answers have left and only while nothing waits.

Both are asked alone, one after the other in an order of chance, so that their times may be compared too where both
compute by one plan. A request that comes meanwhile waits for one comparison, so that texts which the challenger would
take long for are passed over.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import structlog

from services.server.batcher import Batcher, estimated_tokens
from services.server.engine import Answer, Prediction, answers_of
from services.server.slots import Challenger, ServedModel, Slot, Slots
from services.server.tally import Pair
from shared.classifier.capability import token_budget
from shared.classifier.plan import Plan
from shared.errors import DeviceLostError, TidemillError
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
        self._settings, self._budget = settings.server.canary, token_budget(settings.model)
        self._slots, self._batcher, self._metrics = slots, batcher, metrics
        self._copies: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._compared_at = time.monotonic()

    def keep(self, predictions: Sequence[Prediction]) -> None:
        """Takes a share of the texts answered; what finds no room is counted and forgotten.

        A canary that is asked nothing any more, since it is thought too slow, is asked what the champion answered.
        """
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
        if role is ServingRole.CANARY:
            return self._settings.compare_share
        return 1.0 if self._is_time_again() else 0.0

    def _is_time_again(self) -> bool:
        """A wrong guess about a challenger's speed must not hold for ever."""
        return time.monotonic() - self._compared_at >= self._settings.retry_seconds

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
        tokens = estimated_tokens(text, challenger.slot.model.window)
        if self._is_too_slow(challenger.slot, tokens):
            self._metrics.copies_dropped.inc()
            return
        self._compared_at = time.monotonic()
        try:
            with challenger.slot.occupied(), champion.occupied():
                ask = partial(compare, text, champion.model, challenger.slot.model, self._budget)
                pair = await self._batcher.aside(ask, (champion, challenger.slot), tokens)
                challenger.slot.latency.observe(tokens, pair.seconds)
                self._paired(challenger, pair)
        except ChallengerFailedError as error:
            challenger.tally.failed()
            self._metrics.failed(challenger.canary.version, challenger.canary.role)
            log.warning("challenger_failed", version=challenger.canary.version, error=str(error))
        except Exception as error:
            # Whatever the champion fails on was answered, or refused, when it was asked for.
            log.warning("not_compared", error=repr(error))

    def _is_too_slow(self, slot: Slot, tokens: int) -> bool:
        """Whether answers would wait too long for the challenger, as it was last seen."""
        expected = slot.latency.seconds(tokens, self._budget)
        return expected > self._settings.max_compare_seconds and not self._is_time_again()

    def _paired(self, challenger: Challenger, pair: Pair) -> None:
        challenger.tally.paired(pair)
        self._metrics.compared(
            challenger.canary.version,
            challenger.canary.role,
            agrees=pair.agrees,
            difference=pair.difference,
            seconds=pair.seconds,
            champion_seconds=pair.champion_seconds,
            is_timed=pair.is_timed,
        )


def compare(text: str, champion: ServedModel, challenger: ServedModel, budget: int) -> Pair:
    """Asks both about one text, by the champion's plan where the challenger's weights are laid out for it.

    Raises:
        ChallengerFailedError: Only the champion answers. What the champion raises is raised as it is.
    """
    challenger = _alike(challenger, champion.plan)
    turns = [partial(_timed, text, champion, budget), partial(_challenged, text, challenger, budget)]
    if random.random() < 0.5:  # whoever comes second finds the machine warmer
        (theirs, theirs_seconds), (ours, ours_seconds) = turns[1](), turns[0]()
    else:
        (ours, ours_seconds), (theirs, theirs_seconds) = turns[0](), turns[1]()
    difference = abs(ours.score - theirs.scores[ours.label])
    is_timed = champion.plan == challenger.plan
    return Pair(ours.label == theirs.label, difference, theirs_seconds, ours_seconds, is_timed)


def _alike(model: ServedModel, plan_id: str) -> ServedModel:
    if model.plan == plan_id:
        return model
    plan, present = Plan.parse(plan_id), Plan.parse(model.plan)
    return model.under(plan) if plan.precision == present.precision else model


def _challenged(text: str, model: ServedModel, budget: int) -> tuple[Answer, float]:
    try:
        return _timed(text, model, budget)
    except DeviceLostError:
        raise
    except Exception as error:
        raise ChallengerFailedError(repr(error)) from error


def _timed(text: str, model: ServedModel, budget: int) -> tuple[Answer, float]:
    began = time.perf_counter()
    (answer,) = answers_of([text], model.predict([text], budget))
    return answer, time.perf_counter() - began
