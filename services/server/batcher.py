"""Micro-batches without a timer: whatever waits while the model is busy is the next batch.

The queue has one owner, the event loop; the model runs in one worker thread, tokenizer and text cleaning included, so
the loop goes on accepting while torch computes. A batch is for one model, so a request is answered whole by the
version that it met at the door, also while another takes over.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from services.server.slots import Slot
from shared.errors import RetryableError
from shared.metrics import ServerMetrics

log = structlog.get_logger("batcher")
Answer = TypeVar("Answer")
Value = TypeVar("Value")

CHARS_PER_TOKEN = 4  # of English; the classifier counts exactly and keeps the budget, this only sizes its share
SPECIAL_TOKENS = 2


class OverloadedError(RetryableError):
    """The queue is full."""


class TimedOutError(RetryableError):
    """A request waited longer than it may."""


@dataclass(eq=False, slots=True)
class _Request(Generic[Answer]):
    slot: Slot
    future: asyncio.Future[list[Answer]]
    answers: dict[int, Answer] = field(default_factory=dict)
    texts: int = 0

    def deliver(self, place: int, answer: Answer) -> None:
        self.answers[place] = answer
        if len(self.answers) == self.texts and not self.future.done():
            self.future.set_result([self.answers[each] for each in range(self.texts)])

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Answer]):
    request: _Request[Answer]
    place: int
    text: str
    tokens: int


def estimated_tokens(text: str, window: int) -> int:
    """About how many tokens the model will read of the text."""
    return min(window, SPECIAL_TOKENS + -(-len(text) // CHARS_PER_TOKEN))


def choose(tokens: Sequence[int], budget: int) -> list[int]:
    """Which of the waiting texts (oldest first) make the next batch: the oldest, then the longest that still fit.

    Their tokens together stay within the budget, unless the oldest alone is above it. Because the oldest is always in,
    a text waits for at most as many batches as there were texts before it.

    >>> choose([3, 9, 4, 4], budget=12)
    [0, 1]
    """
    chosen, total = [0], tokens[0]
    for place in sorted(range(1, len(tokens)), key=lambda place: -tokens[place]):
        if total + tokens[place] <= budget:
            chosen.append(place)
            total += tokens[place]
    return chosen


Ask = Callable[[Slot, Sequence[str]], Sequence[Answer]]


class Batcher(Generic[Answer]):
    """Gives waiting texts to the model, and the answers to those who wait."""

    def __init__(
        self, ask: Ask[Answer], metrics: ServerMetrics, *, token_budget: int, queue_texts: int, timeout_seconds: float
    ) -> None:
        """`ask` runs in the worker thread and answers one batch for one model, in order."""
        self._ask, self._metrics = ask, metrics
        self._budget, self._limit, self._timeout = token_budget, queue_texts, timeout_seconds
        self._waiting: list[_Waiting[Answer]] = []
        self._arrived = asyncio.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._busy_since: float | None = None

    def busy_seconds(self) -> float:
        """How long the model has been at its present batch; 0 when idle."""
        return time.monotonic() - self._busy_since if self._busy_since is not None else 0.0

    @property
    def is_idle(self) -> bool:
        """The model rests and nothing waits for it."""
        return self._busy_since is None and not self._waiting

    async def aside(self, call: Callable[[], Value]) -> Value:
        """Runs something short in the model's thread; batches wait for it. Ask `is_idle` first."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    async def submit(self, slot: Slot, texts: Sequence[str]) -> list[Answer]:
        """Answers in the order of the texts, all by this slot's model. Cancelled, it costs no further computing.

        Raises:
            OverloadedError: More texts would wait than may.
            TimedOutError: Not answered in time.
        """
        request = self._enqueue(slot, texts)
        try:
            async with asyncio.timeout(self._timeout):
                return await request.future
        except TimeoutError:
            raise TimedOutError(f"not answered within {self._timeout:.0f} s; send less at once") from None

    def _enqueue(self, slot: Slot, texts: Sequence[str]) -> _Request[Answer]:
        self._forget_abandoned()
        if len(self._waiting) + len(texts) > self._limit:
            raise OverloadedError(f"{len(self._waiting)} texts are waiting, {self._limit} may; ask again in a moment")
        request = _Request[Answer](slot, asyncio.get_running_loop().create_future(), texts=len(texts))
        window = slot.model.window
        for place, text in enumerate(texts):
            self._waiting.append(_Waiting(request, place, text, estimated_tokens(text, window)))
        self._metrics.queue.set(len(self._waiting))
        self._arrived.set()
        return request

    def _forget_abandoned(self) -> None:
        self._waiting = [item for item in self._waiting if not item.request.future.done()]

    async def run(self) -> None:
        """Answers until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while batch := self._take():
                    await self._answer(batch)
        finally:
            self._worker.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[_Waiting[Answer]]:
        self._forget_abandoned()
        if not self._waiting:
            self._metrics.queue.set(0)
            return []
        slot = self._waiting[0].request.slot
        same = [item for item in self._waiting if item.request.slot is slot]
        batch = [same[place] for place in choose([item.tokens for item in same], self._budget)]
        taken = set(map(id, batch))
        self._waiting = [item for item in self._waiting if id(item) not in taken]
        self._metrics.queue.set(len(self._waiting))
        return batch

    async def _answer(self, batch: list[_Waiting[Answer]]) -> None:
        slot, texts = batch[0].request.slot, [item.text for item in batch]
        try:
            answers = await self._compute(slot, texts)
        except Exception as error:
            await self._part(batch, error)
            return
        for item, answer in zip(batch, answers, strict=True):
            item.request.deliver(item.place, answer)

    async def _compute(self, slot: Slot, texts: list[str]) -> Sequence[Answer]:
        self._metrics.batch_rows.observe(len(texts))
        self._busy_since = time.monotonic()
        try:
            # The requests' own counts would not do: all may be abandoned while the worker still uses the model.
            with slot.occupied():
                return await asyncio.get_running_loop().run_in_executor(self._worker, self._ask, slot, texts)
        finally:
            self._busy_since = None

    async def _part(self, batch: list[_Waiting[Answer]], error: Exception) -> None:
        """One text that the model fails on must not fail the requests that shared its batch."""
        if len(batch) == 1:
            log.error("model_failed", version=batch[0].request.slot.card.version, error=repr(error))
            batch[0].request.fail(error)
            return
        for item in batch:
            await self._answer([item])
