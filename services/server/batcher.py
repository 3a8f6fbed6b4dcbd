"""Micro-batches without a timer: whatever waits while the model is busy is the next batch.

The queue has one owner, the event loop; the model runs in one worker thread, tokenizer and text cleaning included, so
the loop goes on accepting while torch computes. A batch is for one model, so a request is answered whole by the
version that it met at the door, also while another takes over. How long batches take is learned for each model, so
that a request that cannot be answered in time is told at once, and nothing is computed for it. The lines of a stream, a
flow, wait for their turn until their time is up.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from services.server.forecast import Forecast
from services.server.slots import Slot
from services.server.waiting import FairQueue, Flow, Waiting
from shared.errors import RetryableError
from shared.metrics import ServerMetrics

log = structlog.get_logger("batcher")
Answer = TypeVar("Answer")
Value = TypeVar("Value")

CHARS_PER_TOKEN = 4  # of English; the classifier counts exactly and keeps the budget, this only sizes its share
SPECIAL_TOKENS = 2
SHORTEST = SPECIAL_TOKENS + 1
ADMITTED_WITHIN = 0.8  # of a request's patience may be expected to pass: batches take longer at times


class BusyError(RetryableError):
    """Not now, but in so many seconds."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, math.ceil(retry_after_seconds))


class OverloadedError(BusyError):
    """The queue is full."""


class TooLateError(BusyError):
    """The answer would come after its deadline; nothing is computed for it."""


class UnfinishedError(TooLateError):
    """The deadline came while the answer was being computed."""


@dataclass(eq=False, slots=True)
class _Request(Generic[Answer]):
    slot: Slot
    future: asyncio.Future[list[Answer]]
    texts: int
    deadline: float  # by which it must be computed to be worth it
    waiting_tokens: int
    computing: bool = False
    answers: dict[int, Answer] = field(default_factory=dict)

    def deliver(self, place: int, answer: Answer) -> None:
        self.answers[place] = answer
        if len(self.answers) == self.texts and not self.future.done():
            self.future.set_result([self.answers[each] for each in range(self.texts)])

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def estimated_tokens(text: str, window: int) -> int:
    """About how many tokens the model will read of the text."""
    return min(window, SPECIAL_TOKENS + -(-len(text) // CHARS_PER_TOKEN))


def _tokens(slot: Slot, texts: Sequence[str]) -> list[int]:
    return [estimated_tokens(text, slot.model.window) for text in texts]


Ask = Callable[[Slot, Sequence[str]], Sequence[Answer]]
Batch = list[Waiting[_Request[Answer]]]


@contextmanager
def _computing(batch: Batch[Answer]) -> Iterator[None]:
    """Whose texts the model is at."""
    for waiting in batch:
        waiting.asker.computing = True
    try:
        yield
    finally:
        for waiting in batch:
            waiting.asker.computing = False


class Batcher(Generic[Answer]):
    """Gives waiting texts to the model, and the answers to those who wait."""

    def __init__(
        self, ask: Ask[Answer], metrics: ServerMetrics, *, token_budget: int, queue_tokens: int, flowing_tokens: int
    ) -> None:
        """`ask` runs in the worker thread and answers one batch for one model, in order.

        Of `queue_tokens`, which may wait, `flowing_tokens` may be of flows.
        """
        self._ask, self._metrics = ask, metrics
        self._budget, self._limit, self._flowing_limit = token_budget, queue_tokens, flowing_tokens
        self._queue: FairQueue[_Request[Answer], Slot] = FairQueue()
        self._forecast = Forecast(token_budget)
        self._arrived, self._turn = asyncio.Event(), asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")

    def busy_seconds(self) -> float:
        """How long the worker has been at its present batch, or at what it does aside; 0 when idle."""
        return self._forecast.busy_seconds()

    @property
    def is_idle(self) -> bool:
        """The worker rests and nothing waits for it."""
        return not self._forecast.is_busy and not self._queue.tokens

    async def aside(self, call: Callable[[], Value], slots: Sequence[Slot], tokens: int) -> Value:
        """Runs something short in the worker, batches wait for it: so many tokens asked of each of these models.

        Ask `is_idle` first.
        """
        async with self._turn:
            with self._forecast.busy(sum(self._forecast.computing(slot, tokens) for slot in slots)):
                return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    def is_in_time(self, slot: Slot, texts: Sequence[str], seconds: float) -> bool:
        """Whether this model is expected to have answered a request within so many seconds, if it came now."""
        enough = ADMITTED_WITHIN * seconds
        return self._expected(slot, _tokens(slot, texts), enough) <= enough

    async def submit(
        self, slot: Slot, texts: Sequence[str], timeout_seconds: float, flow: Flow | None = None
    ) -> list[Answer]:
        """Answers in the order of the texts, all by this slot's model. Cancelled, it costs no further computing.

        Raises:
            OverloadedError: More tokens would wait than may.
            TooLateError: It cannot be answered in time, or was not; of a flow only: it was not.
            UnfinishedError: It was not, although the model was at it.
        """
        request = self._enqueue(slot, texts, timeout_seconds, flow)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await request.future
        except TimeoutError:
            kind = UnfinishedError if request.computing else TooLateError
            raise kind(f"not answered within {timeout_seconds:g} s", self._forecast.all_done()) from None
        finally:
            self._drop(request)

    def refusal(self, timeout_seconds: float) -> BusyError | None:
        """Why even one short text would be refused now; None if it would not be."""
        try:
            self._refuse_if_full(SHORTEST)
            self._refuse_if_late(None, [SHORTEST], timeout_seconds)
        except BusyError as error:
            return error
        return None

    def _enqueue(self, slot: Slot, texts: Sequence[str], timeout_seconds: float, flow: Flow | None) -> _Request[Answer]:
        tokens = _tokens(slot, texts)
        self._refuse_if_full(sum(tokens))
        if flow is None:
            self._refuse_if_late(slot, tokens, timeout_seconds)
            deadline = time.monotonic() + timeout_seconds
        else:
            self._refuse_if_flows_are_many(sum(tokens))
            deadline = math.inf  # a guess is no reason to give a line up: only its time is
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        request = _Request(slot, future, len(texts), deadline, sum(tokens))
        self._queue.add(request, slot, texts, tokens, flow)
        self._forecast.waits(slot, sum(tokens))
        self._show()
        self._arrived.set()
        return request

    def _refuse_if_full(self, tokens: int) -> None:
        """An empty queue takes any request: what one may hold is bounded elsewhere."""
        if self._queue.tokens and self._queue.tokens + tokens > self._limit:
            raise OverloadedError(
                f"some {self._queue.tokens} tokens are waiting, {self._limit} may; ask again in a moment",
                self._forecast.all_done(min(1.0, (self._queue.tokens + tokens - self._limit) / self._queue.tokens)),
            )

    def _refuse_if_flows_are_many(self, tokens: int) -> None:
        """Else streams would fill the queue, and everybody else be refused."""
        waiting = self._queue.flowing_tokens
        if waiting and waiting + tokens > self._flowing_limit:
            raise OverloadedError(
                f"some {waiting} tokens of streams are waiting, {self._flowing_limit} may; ask again in a moment",
                self._forecast.all_done(min(1.0, (waiting + tokens - self._flowing_limit) / self._queue.tokens)),
            )

    def _refuse_if_late(self, slot: Slot | None, tokens: Sequence[int], timeout_seconds: float) -> None:
        if self.is_idle:
            return
        enough = ADMITTED_WITHIN * timeout_seconds
        expected = self._expected(slot, tokens, enough)
        if expected > enough:
            raise TooLateError(
                f"an answer would take some {expected:.2g} s, {timeout_seconds:g} s are left; ask again in a moment",
                expected - enough,
            )

    def _expected(self, slot: Slot | None, tokens: Sequence[int], enough: float) -> float:
        """Seconds until a request of these texts would be answered; after all that waits, where that is soon enough."""
        expected = self._forecast.answered(slot, sum(tokens))
        if expected <= enough or not self._queue.tokens:
            return expected
        return self._forecast.answered(slot, sum(tokens), self._queue.tokens_before(tokens) / self._queue.tokens)

    async def run(self) -> None:
        """Answers until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                async with self._turn:
                    await self._answer_all()
        finally:
            self._worker.shutdown(wait=False, cancel_futures=True)

    async def _answer_all(self) -> None:
        # After a pause nobody is judged by what was learned: a wrong guess must not refuse for ever.
        batch = self._take()
        while batch:
            self._show()
            await self._answer(batch)
            batch = self._take_in_time()
        self._show()

    def _take(self) -> Batch[Answer]:
        batch = self._queue.take(self._budget)
        for waiting in batch:
            waiting.asker.waiting_tokens -= waiting.tokens
            self._forecast.waits(waiting.asker.slot, -waiting.tokens)
        return batch

    def _drop(self, request: _Request[Answer]) -> None:
        self._queue.drop(request)
        self._forecast.waits(request.slot, -request.waiting_tokens)
        request.waiting_tokens = 0

    def _take_in_time(self) -> Batch[Answer]:
        """The next texts whose answers still come in time; of the others, whoever waits is told now."""
        while batch := self._take():
            computing = self._forecast.computing(batch[0].asker.slot, sum(each.tokens for each in batch))
            ready = time.monotonic() + computing
            for late in {waiting.asker for waiting in batch if waiting.asker.deadline < ready}:
                self._give_up(late)
            if in_time := [waiting for waiting in batch if waiting.asker.deadline >= ready]:
                return in_time
        return []

    def _give_up(self, request: _Request[Answer]) -> None:
        request.fail(TooLateError("an answer would come too late; ask again in a moment", self._forecast.under_way()))
        self._drop(request)

    def _show(self) -> None:
        self._metrics.queue.set(len(self._queue))
        self._metrics.queue_tokens.set(self._queue.tokens)
        self._metrics.expected_wait.set(self._forecast.all_done())

    async def _answer(self, batch: Batch[Answer]) -> None:
        try:
            answers = await self._compute(batch)
        except Exception as error:
            await self._part(batch, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.asker.deliver(waiting.place, answer)

    async def _compute(self, batch: Batch[Answer]) -> Sequence[Answer]:
        slot, texts = batch[0].asker.slot, [waiting.text for waiting in batch]
        self._metrics.batch_rows.observe(len(texts))
        tokens = sum(waiting.tokens for waiting in batch)
        began = time.perf_counter()
        # The requests' own counts would not do: all may be abandoned while the worker still uses the model.
        with slot.occupied(), self._forecast.busy(self._forecast.computing(slot, tokens)), _computing(batch):
            answers = await asyncio.get_running_loop().run_in_executor(self._worker, self._ask, slot, texts)
        # Seen from the loop, whose own delays whoever waits will have to bear too.
        self._forecast.observe(slot, tokens, time.perf_counter() - began)
        return answers

    async def _part(self, batch: Batch[Answer], error: Exception) -> None:
        """One text that the model fails on must not fail the requests that shared its batch."""
        if len(batch) == 1:
            log.error("model_failed", version=batch[0].asker.slot.card.version, error=repr(error))
            batch[0].asker.fail(error)
            return
        for waiting in batch:
            await self._answer([waiting])
