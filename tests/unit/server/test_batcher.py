import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.server.batcher import Batcher, OverloadedError, TimedOutError, choose, estimated_tokens
from services.server.slots import Slot
from shared.metrics import ServerMetrics
from tests.unit.server.fakes import FakeModel, slot

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=40)


class Asked:
    """Answers VERSION:TEXT and notes every batch; while `gate` is closed, the model is busy."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self, slot: Slot, texts: Sequence[str]) -> list[str]:
        self.batches.append((slot.card.version, list(texts)))
        self.entered.set()
        assert self.gate.wait(20)
        if "poison" in texts:
            raise ValueError("a text that the model fails on")
        return [f"{slot.card.version}:{text}" for text in texts]


@asynccontextmanager
async def running(
    ask: Asked, budget: int = 100, queue_texts: int = 1000, timeout: float = 20.0
) -> AsyncIterator[Batcher[str]]:
    batcher = Batcher(
        ask, ServerMetrics(CollectorRegistry()), token_budget=budget, queue_texts=queue_texts, timeout_seconds=timeout
    )
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        ask.gate.set()
        task.cancel()


async def busy(ask: Asked, batcher: Batcher[str], slot: Slot) -> asyncio.Task[list[str]]:
    """A request that the model is at, until the gate opens."""
    ask.gate.clear()
    first = asyncio.create_task(batcher.submit(slot, ["first"]))
    assert await asyncio.to_thread(ask.entered.wait, 20)
    return first


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


@given(lengths, st.integers(1, 100))
def test_a_batch_holds_the_oldest_and_keeps_the_budget(tokens: list[int], budget: int) -> None:
    batch = choose(tokens, budget)
    assert batch[0] == 0
    assert len(set(batch)) == len(batch)
    assert len(batch) == 1 or sum(tokens[place] for place in batch) <= budget


@given(lengths, st.integers(1, 100))
def test_what_is_left_out_would_not_have_fitted(tokens: list[int], budget: int) -> None:
    batch = choose(tokens, budget)
    total = sum(tokens[place] for place in batch)
    for place in set(range(len(tokens))) - set(batch):
        assert total + tokens[place] > budget


@given(lengths)
def test_longer_texts_go_first(tokens: list[int]) -> None:
    batch = choose(tokens, 2 * max(tokens))
    if len(batch) > 1:
        assert tokens[batch[1]] == max(tokens[1:])


def test_a_text_counts_at_most_the_window() -> None:
    assert estimated_tokens("word " * 1000, window=128) == 128
    assert estimated_tokens("abcd", window=128) == 3


requests = st.lists(st.lists(st.text("ab", min_size=1, max_size=60), min_size=1, max_size=8), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(requests, st.integers(10, 60), st.lists(st.booleans(), min_size=12, max_size=12))
def test_every_text_is_answered_once_in_order_by_one_version(
    texts: list[list[str]], budget: int, swapped_before: list[bool]
) -> None:
    async def story() -> None:
        ask, versions = Asked(), [slot("1")]
        async with running(ask, budget) as batcher:
            first = await busy(ask, batcher, versions[0])
            waiting = []
            for number, request in enumerate(texts):
                if swapped_before[number]:
                    versions.append(slot(str(len(versions) + 1)))
                waiting.append((versions[-1], asyncio.create_task(batcher.submit(versions[-1], request))))
                await asyncio.sleep(0)
            ask.gate.set()
            for (served, task), request in zip(waiting, texts, strict=True):
                assert await task == [f"{served.card.version}:{text}" for text in request]
            await first
        given_to_model = sorted(text for _, batch in ask.batches for text in batch)
        assert given_to_model == sorted(["first", *(text for request in texts for text in request)])
        for _, batch in ask.batches:
            assert len(batch) == 1 or sum(estimated_tokens(text, 512) for text in batch) <= budget

    run(story)


def test_a_short_text_waits_for_at_most_those_before_it() -> None:
    """Long texts that keep arriving do not starve a short one."""

    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, budget=52) as batcher:
            first = await busy(ask, batcher, model)
            short = asyncio.create_task(batcher.submit(model, ["s"]))
            await asyncio.sleep(0)
            long = [asyncio.create_task(batcher.submit(model, ["l" * 200])) for _ in range(5)]
            await asyncio.sleep(0)
            ask.gate.set()
            await asyncio.gather(first, short, *long)
        assert "s" in ask.batches[1][1]

    run(story)


def test_what_waits_while_the_model_is_busy_is_one_batch() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask) as batcher:
            first = await busy(ask, batcher, model)
            others = [asyncio.create_task(batcher.submit(model, [name])) for name in "abcde"]
            await asyncio.sleep(0)
            ask.gate.set()
            await asyncio.gather(first, *others)
        assert [sorted(batch) for _, batch in ask.batches] == [["first"], list("abcde")]

    run(story)


def test_a_full_queue_refuses_at_the_door() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, queue_texts=3) as batcher:
            first = await busy(ask, batcher, model)
            waiting = asyncio.create_task(batcher.submit(model, ["a", "b"]))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError, match="2 texts are waiting, 3 may"):
                await batcher.submit(model, ["c", "d"])
            ask.gate.set()
            await asyncio.gather(first, waiting)

    run(story)


def test_an_abandoned_request_costs_no_computing_and_no_room() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, queue_texts=2) as batcher:
            first = await busy(ask, batcher, model)
            abandoned = asyncio.create_task(batcher.submit(model, ["x", "y"]))
            await asyncio.sleep(0)
            abandoned.cancel()
            await asyncio.gather(abandoned, return_exceptions=True)
            other = asyncio.create_task(batcher.submit(model, ["a", "b"]))
            await asyncio.sleep(0)
            ask.gate.set()
            await asyncio.gather(first, other)
        assert not {"x", "y"} & {text for _, batch in ask.batches for text in batch}

    run(story)


def test_a_request_that_waits_too_long_is_told_and_dropped() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, timeout=0.05) as batcher:
            first = await busy(ask, batcher, model)
            with pytest.raises(TimedOutError):
                await batcher.submit(model, ["late"])
            ask.gate.set()
            await asyncio.gather(first, return_exceptions=True)
            assert await batcher.submit(model, ["next"]) == ["1:next"]
        assert ["late"] not in [batch for _, batch in ask.batches]

    run(story)


def test_a_text_that_the_model_fails_on_fails_its_own_request_only() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask) as batcher:
            first = await busy(ask, batcher, model)
            bad = asyncio.create_task(batcher.submit(model, ["poison"]))
            good = asyncio.create_task(batcher.submit(model, ["good"]))
            await asyncio.sleep(0)
            ask.gate.set()
            assert await good == ["1:good"]
            with pytest.raises(ValueError, match="fails on"):
                await bad
            await first

    run(story)


def test_a_model_at_work_is_kept_though_everybody_left() -> None:
    async def story() -> None:
        ask, model = Asked(), slot("1", FakeModel())
        async with running(ask) as batcher:
            first = await busy(ask, batcher, model)
            assert batcher.busy_seconds() > 0
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            draining = asyncio.create_task(model.drained())
            await asyncio.sleep(0)
            assert not draining.done()
            ask.gate.set()
            await draining

    run(story)
