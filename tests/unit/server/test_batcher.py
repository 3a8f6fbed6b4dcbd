import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.server.batcher import Batcher, OverloadedError, TooLateError, UnfinishedError, estimated_tokens
from services.server.slots import Slot
from services.server.waiting import Flow
from shared.metrics import ServerMetrics
from tests.unit.server.fakes import FakeModel, slot

PATIENCE = 20.0


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
async def running(ask: Asked, budget: int = 100, queue_tokens: int = 10_000) -> AsyncIterator[Batcher[str]]:
    batcher = Batcher(
        ask,
        ServerMetrics(CollectorRegistry()),
        token_budget=budget,
        queue_tokens=queue_tokens,
        flowing_tokens=queue_tokens // 2,
    )
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        ask.gate.set()
        task.cancel()


async def busy(
    ask: Asked, batcher: Batcher[str], slot: Slot, texts: Sequence[str] = ("first",)
) -> asyncio.Task[list[str]]:
    """A request that the model is at, until the gate opens."""
    ask.gate.clear()
    first = asyncio.create_task(batcher.submit(slot, texts, PATIENCE))
    assert await asyncio.to_thread(ask.entered.wait, 20)
    return first


def slow(model: Slot, seconds: float = 1.0) -> None:
    """The model is thought to take so long for three tokens."""
    for _ in range(100):
        model.latency.observe(3, seconds)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


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
                waiting.append((versions[-1], asyncio.create_task(batcher.submit(versions[-1], request, PATIENCE))))
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
            short = asyncio.create_task(batcher.submit(model, ["s"], PATIENCE))
            await asyncio.sleep(0)
            long = [asyncio.create_task(batcher.submit(model, ["l" * 200], PATIENCE)) for _ in range(5)]
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
            others = [asyncio.create_task(batcher.submit(model, [name], PATIENCE)) for name in "abcde"]
            await asyncio.sleep(0)
            ask.gate.set()
            await asyncio.gather(first, *others)
        assert [sorted(batch) for _, batch in ask.batches] == [["first"], list("abcde")]

    run(story)


def test_a_full_queue_refuses_at_the_door() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, queue_tokens=9) as batcher:
            first = await busy(ask, batcher, model)
            waiting = asyncio.create_task(batcher.submit(model, ["a", "b"], PATIENCE))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError, match="6 tokens are waiting, 9 may"):
                await batcher.submit(model, ["c", "d"], PATIENCE)
            ask.gate.set()
            await asyncio.gather(first, waiting)

    run(story)


def test_streams_hold_a_part_of_the_queue_together_and_the_rest_is_for_others() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, queue_tokens=12) as batcher:
            first = await busy(ask, batcher, model)
            lines = [asyncio.create_task(batcher.submit(model, [name], PATIENCE, Flow())) for name in "ab"]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError, match="6 tokens of streams are waiting, 6 may"):
                await batcher.submit(model, ["c"], PATIENCE, Flow())
            other = asyncio.create_task(batcher.submit(model, ["d", "e"], PATIENCE))
            await asyncio.sleep(0)
            ask.gate.set()
            assert await asyncio.gather(*lines, other) == [["1:a"], ["1:b"], ["1:d", "1:e"]]
            await first

    run(story)


def test_a_line_of_a_stream_is_not_given_up_for_what_was_learned() -> None:
    """Neither at the door, where a request of its own would be refused, nor when its turn comes."""

    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, budget=10) as batcher:
            slow(model, seconds=2 * PATIENCE)
            first = await busy(ask, batcher, model)
            with pytest.raises(TooLateError):
                await batcher.submit(model, ["alone"], PATIENCE)
            line = asyncio.create_task(batcher.submit(model, ["line"], PATIENCE, Flow()))
            await asyncio.sleep(0)
            ask.gate.set()
            assert await line == ["1:line"]
            await first

    run(story)


def test_an_abandoned_request_costs_no_computing_and_no_room() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, queue_tokens=6) as batcher:
            first = await busy(ask, batcher, model)
            abandoned = asyncio.create_task(batcher.submit(model, ["x", "y"], PATIENCE))
            await asyncio.sleep(0)
            abandoned.cancel()
            await asyncio.gather(abandoned, return_exceptions=True)
            other = asyncio.create_task(batcher.submit(model, ["a", "b"], PATIENCE))
            await asyncio.sleep(0)
            ask.gate.set()
            await asyncio.gather(first, other)
        assert not {"x", "y"} & {text for _, batch in ask.batches for text in batch}

    run(story)


def test_a_request_that_waits_too_long_is_told_and_dropped() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask) as batcher:
            first = await busy(ask, batcher, model)
            with pytest.raises(TooLateError):
                await batcher.submit(model, ["late"], 0.05)
            ask.gate.set()
            await asyncio.gather(first, return_exceptions=True)
            assert await batcher.submit(model, ["next"], PATIENCE) == ["1:next"]
        assert ["late"] not in [batch for _, batch in ask.batches]

    run(story)


def test_a_request_that_cannot_be_answered_in_time_is_told_at_the_door() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, budget=10) as batcher:
            slow(model)
            first = await busy(ask, batcher, model)
            with pytest.raises(TooLateError, match="an answer would take some") as told:
                await batcher.submit(model, ["hopeless"] * 20, 2.0)
            assert told.value.retry_after_seconds >= 19
            possible = asyncio.create_task(batcher.submit(model, ["a"], 10.0))
            await asyncio.sleep(0)
            ask.gate.set()
            assert await possible == ["1:a"]
            await first
        assert "hopeless" not in {text for _, batch in ask.batches for text in batch}

    run(story)


def test_a_model_thought_too_slow_is_tried_again_as_soon_as_nothing_waits() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, budget=10) as batcher:
            slow(model, seconds=2 * PATIENCE)
            assert await batcher.submit(model, ["a"], PATIENCE) == ["1:a"]

    run(story)


def test_an_answer_that_would_come_too_late_is_not_computed() -> None:
    """What was possible at the door may not be any more when its turn comes."""

    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, budget=10) as batcher:
            first = await busy(ask, batcher, model)
            waiting = asyncio.create_task(batcher.submit(model, ["too late"], 5.0))
            await asyncio.sleep(0)
            slow(model, seconds=100.0)
            ask.gate.set()
            with pytest.raises(TooLateError, match="would come too late"):
                await waiting
            await first
        assert ["too late"] not in [batch for _, batch in ask.batches]

    run(story)


def test_a_small_request_does_not_wait_for_a_large_one() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask, budget=30) as batcher:
            large = await busy(ask, batcher, model, ["large"] * 100)
            small = asyncio.create_task(batcher.submit(model, ["small"], PATIENCE))
            await asyncio.sleep(0)
            ask.gate.set()
            await asyncio.gather(large, small)
        assert "small" in ask.batches[1][1]

    run(story)


def test_a_text_that_the_model_fails_on_fails_its_own_request_only() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask) as batcher:
            first = await busy(ask, batcher, model)
            bad = asyncio.create_task(batcher.submit(model, ["poison"], PATIENCE))
            good = asyncio.create_task(batcher.submit(model, ["good"], PATIENCE))
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


def test_how_long_one_model_takes_says_nothing_about_another_that_was_asked_too() -> None:
    async def story() -> None:
        ask, quick, sluggish = Asked(), slot("1"), slot("2")
        async with running(ask, budget=10) as batcher:
            quick.latency.observe(3, 0.001)
            slow(sluggish, seconds=100.0)
            first = await busy(ask, batcher, quick)
            with pytest.raises(TooLateError):
                await batcher.submit(sluggish, ["a"], 10.0)
            waiting = asyncio.create_task(batcher.submit(quick, ["a"], 10.0))
            await asyncio.sleep(0)
            ask.gate.set()
            assert await waiting == ["1:a"]
            await first

    run(story)


def test_what_waits_for_a_slow_model_counts_at_its_own_speed() -> None:
    async def story() -> None:
        ask, quick, sluggish = Asked(), slot("1"), slot("2")
        async with running(ask, budget=10) as batcher:
            quick.latency.observe(3, 0.001)
            first = await busy(ask, batcher, quick)
            waiting = asyncio.create_task(batcher.submit(sluggish, ["a"], PATIENCE))
            await asyncio.sleep(0)
            slow(sluggish, seconds=10.0)
            assert not batcher.is_in_time(quick, ["b"], 5.0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert batcher.is_in_time(quick, ["b"], 5.0)
            assert not batcher._forecast._waiting
            ask.gate.set()
            await first

    run(story)


def test_what_is_done_aside_is_expected_to_take_its_time_and_is_nobodys_own() -> None:
    """A request that comes meanwhile waits in the queue, not in the worker: that is not its model's time."""

    async def story() -> None:
        ask, model, beside, go_on = Asked(), slot("1"), slot("2"), threading.Event()
        async with running(ask, budget=10) as batcher:
            model.latency.observe(3, 0.001)
            slow(beside, seconds=100.0)
            aside = asyncio.create_task(batcher.aside(lambda: go_on.wait(20), (model, beside), 3))
            await asyncio.sleep(0)
            assert not batcher.is_idle
            assert batcher.busy_seconds() > 0
            with pytest.raises(TooLateError, match="an answer would take some"):
                await batcher.submit(model, ["a"], 10.0)
            waiting = asyncio.create_task(batcher.submit(model, ["b"], 1000.0))
            await asyncio.sleep(0.05)
            assert len(batcher._queue) == 1
            go_on.set()
            assert await waiting == ["1:b"]
            assert await aside

    run(story)


def test_who_is_late_while_the_model_is_at_it_is_told_apart_from_who_waits() -> None:
    async def story() -> None:
        ask, model = Asked(), slot()
        async with running(ask) as batcher:
            ask.gate.clear()
            with pytest.raises(UnfinishedError):
                await batcher.submit(model, ["first"], 0.1)
            with pytest.raises(TooLateError) as told:
                await batcher.submit(model, ["second"], 0.05)
            assert not isinstance(told.value, UnfinishedError)

    run(story)
