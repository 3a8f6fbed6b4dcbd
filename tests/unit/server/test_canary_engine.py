"""A canary answers its callers, and what it cannot answer in time the champion does."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.server.batcher import OverloadedError, TooLateError, estimated_tokens
from services.server.engine import Engine, OtherVersionError, Prediction, Predictions, Question
from services.server.slots import Challenger, Slot, Slots
from services.server.stickiness import is_in_share
from services.server.tally import Tally
from shared.canary import Canary
from shared.errors import DeviceLostError
from shared.events import ServingRole
from shared.metrics import ServerMetrics
from shared.settings import load_settings
from tests.unit.server.fakes import FakeModel, slot

CALLERS = [f"caller-{number}" for number in range(60)]
INSIDE = next(caller for caller in CALLERS if is_in_share("2", caller, 0.5))
OUTSIDE = next(caller for caller in CALLERS if not is_in_share("2", caller, 0.5))


class Stage:
    """Version 1 answers "negative"; version 2 stands beside it and answers "positive"."""

    def __init__(self, role: ServingRole = ServingRole.CANARY, share: float = 0.5, **settings: Any) -> None:
        self.collector = CollectorRegistry()
        self.champion, self.model, self.kept = FakeModel(0.25), FakeModel(0.75), list[Prediction]()
        self.slots, self.tally = Slots(), Tally()
        self.slots.switch(slot("1", self.champion))
        self.challenger = Challenger(Canary("2", role, share), slot("2", self.model), self.tally)  # type: ignore[arg-type]
        self.slots.place_beside(self.challenger)
        loaded = load_settings(server={"canary": settings})
        self.engine = Engine(loaded, self.slots, ServerMetrics(self.collector), [self.kept.extend])

    async def ask(self, caller: str | None, version: str | None = None, seconds: float = 20.0) -> Predictions:
        return await self.engine.predict(Question(["a film"], seconds, version, caller))

    def champion_waits(self) -> bool:
        """A text waits for the champion."""
        return self.slots.current in self.engine.batcher._forecast._waiting

    def fill_the_queue(self) -> None:
        """Not a token more may wait."""
        self.engine.batcher._limit = self.engine.batcher._queue.tokens

    def failures(self) -> float | None:
        return self.collector.get_sample_value("tidemill_version_failures_total", {"version": "2", "role": "canary"})


def fail(texts: Sequence[str]) -> None:
    raise ValueError("a model that fails")


def is_slow(slot: Slot, seconds: float) -> None:
    """It is thought to take so long for what these tests ask, whatever comes next."""
    for _ in range(100):
        slot.latency.observe(estimated_tokens("a film", 512), seconds)


class Hanging:
    """What a model does until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, texts: Sequence[str]) -> None:
        self.entered.set()
        assert self.go_on.wait(20)


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Stage]:
    task = asyncio.create_task(stage.engine.batcher.run())
    try:
        yield stage
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def told(stage: Stage, story: Callable[[Stage], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(30), running(stage):
            await story(stage)

    asyncio.run(within())


def test_a_caller_stays_on_its_side_and_the_answer_names_its_version() -> None:
    async def story(stage: Stage) -> None:
        for caller in CALLERS * 2:
            found = await stage.ask(caller)
            assert found.card.version == ("2" if is_in_share("2", caller, 0.5) else "1")
            assert found.items[0].answer.label == ("positive" if found.card.version == "2" else "negative")
        roles = {(each.version, each.role) for each in stage.kept}
        assert roles == {("1", ServingRole.CHAMPION), ("2", ServingRole.CANARY)}
        inside = sum(is_in_share("2", caller, 0.5) for caller in CALLERS)
        assert stage.tally.counts.answers == 2 * inside
        labels = {"version": "2", "role": "canary"}
        assert stage.collector.get_sample_value("tidemill_version_answers_total", labels) == 2 * inside
        assert stage.collector.get_sample_value("tidemill_version_request_seconds_count", labels) == 2 * inside

    told(Stage(), story)


def test_a_caller_of_whom_nothing_is_known_gets_the_champion() -> None:
    async def story(stage: Stage) -> None:
        assert (await stage.ask(None)).card.version == "1"

    told(Stage(share=1.0), story)


def test_a_shadow_answers_nobody() -> None:
    async def story(stage: Stage) -> None:
        assert {(await stage.ask(caller)).card.version for caller in CALLERS} == {"1"}

    told(Stage(ServingRole.SHADOW, 1.0), story)


def test_who_asks_for_a_version_gets_that_one_or_nothing() -> None:
    async def story(stage: Stage) -> None:
        for caller in (INSIDE, OUTSIDE, None):
            assert (await stage.ask(caller, "2")).card.version == "2"
            assert (await stage.ask(caller, "1")).card.version == "1"
        with pytest.raises(OtherVersionError):
            await stage.ask(INSIDE, "3")

    told(Stage(), story)


def test_where_the_canary_fails_the_champion_answers_the_same_request() -> None:
    async def story(stage: Stage) -> None:
        stage.model.before = fail
        found = await stage.ask(INSIDE)
        assert (found.card.version, found.items[0].role) == ("1", ServingRole.CHAMPION)
        assert (stage.tally.counts.failures, stage.failures()) == (1, 1)
        with pytest.raises(ValueError, match="a model that fails"):
            await stage.ask(INSIDE, "2")

    told(Stage(), story)


def test_a_canary_is_not_blamed_for_a_lost_gpu() -> None:
    def lose(texts: Sequence[str]) -> None:
        raise DeviceLostError("the GPU computes nothing more")

    async def story(stage: Stage) -> None:
        stage.model.before = lose
        with pytest.raises(DeviceLostError):
            await stage.ask(INSIDE)
        assert (stage.tally.counts.failures, stage.failures()) == (0, None)

    told(Stage(), story)


def test_a_canary_that_fails_too_often_is_asked_no_more() -> None:
    async def story(stage: Stage) -> None:
        stage.model.before = fail
        for _ in range(10):
            assert (await stage.ask(INSIDE)).card.version == "1"
        assert len(stage.model.calls) == 3
        assert stage.tally.counts.failures == 3

    told(Stage(judged_after=3, max_failure_share=0.5), story)


def test_where_the_canary_is_late_the_champion_answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, given_up = Stage(patience_share=0.01), threading.Event()
    instead = stage.engine._instead

    async def noted(*about: Any) -> Predictions:
        given_up.set()
        return await instead(*about)

    def hang(texts: Sequence[str]) -> None:
        assert given_up.wait(20)

    async def story(stage: Stage) -> None:
        stage.model.before = hang
        assert (await stage.ask(INSIDE)).card.version == "1"
        assert stage.tally.counts.failures == 1

    monkeypatch.setattr(stage.engine, "_instead", noted)
    told(stage, story)


def versions(stage: Stage) -> dict[str, set[str]]:
    """Metric -> versions that it has a series of."""
    found: dict[str, set[str]] = {}
    samples = [(family.name, sample) for family in stage.collector.collect() for sample in family.samples]
    for name, sample in samples:
        if "version" in sample.labels:
            found.setdefault(name, set()).add(sample.labels["version"])
    return found


def counted(stage: Stage, version: str) -> None:
    """Whatever may be counted of a challenger but its answers."""
    canary = stage.engine._metrics.canary
    canary.failed(version, ServingRole.CANARY)
    canary.compared(
        version, ServingRole.CANARY, agrees=True, difference=0.0, seconds=1.0, champion_seconds=2.0, is_timed=True
    )


def test_metrics_tell_of_champion_challenger_and_the_champion_before_and_of_no_version_more() -> None:
    async def story(stage: Stage) -> None:
        champion = stage.slots.current
        assert champion is not None
        for version in ("1", "2"):
            await stage.ask(None, version)
            counted(stage, version)
        stage.slots.switch(stage.challenger.slot)
        await stage.slots.retire(champion)
        assert set(map(frozenset, versions(stage).values())) == {frozenset({"1", "2"})}
        third = slot("3")
        stage.slots.switch(third)
        stage.slots.place_beside(Challenger(Canary("4", ServingRole.CANARY, 0.5), slot("4"), Tally()))  # type: ignore[arg-type]
        for version in ("3", "4"):
            await stage.ask(None, version)
            counted(stage, version)
        await stage.slots.retire(stage.challenger.slot)
        assert len(versions(stage)) == 8
        assert set(map(frozenset, versions(stage).values())) == {frozenset({"2", "3", "4"})}


def test_a_canary_that_would_leave_the_champion_no_time_is_not_asked() -> None:
    """It hangs for good here, so that whoever asks it, with one worker for both, gets no answer from anybody."""
    hanging = Hanging()

    async def story(stage: Stage) -> None:
        stage.model.before = hanging
        is_slow(stage.challenger.slot, 0.4)
        assert (await stage.ask(INSIDE, seconds=0.5)).card.version == "1"
        assert stage.model.calls == []
        assert stage.collector.get_sample_value("tidemill_canary_passed_over_total", {"version": "2"}) == 1
        assert stage.tally.counts.asked == 0

    try:
        told(Stage(), story)
    finally:
        hanging.go_on.set()


def test_a_canary_is_not_asked_where_the_rest_of_the_time_would_not_do_for_the_champion() -> None:
    async def story(stage: Stage) -> None:
        assert stage.slots.current is not None
        is_slow(stage.challenger.slot, 1.0)
        is_slow(stage.slots.current, 15.0)
        assert (await stage.ask(INSIDE, seconds=20.0)).card.version == "1"
        assert (await stage.ask(INSIDE, seconds=40.0)).card.version == "2"

    told(Stage(), story)


def test_seconds_compared_are_told_by_the_challengers_role() -> None:
    stage = Stage()
    canary = stage.engine._metrics.canary
    canary.compared(
        "2", ServingRole.CANARY, agrees=True, difference=0.0, seconds=1.0, champion_seconds=2.0, is_timed=True
    )
    for role, seconds in (("canary", 1.0), ("champion", 2.0), ("shadow", None)):
        labels = {"version": "2", "role": role}
        assert stage.collector.get_sample_value("tidemill_canary_compared_seconds_total", labels) == seconds


def test_a_canary_that_makes_the_champion_late_too_is_counted_as_failed() -> None:
    hanging = Hanging()

    async def story(stage: Stage) -> None:
        stage.model.before = hanging
        with pytest.raises(TooLateError):
            await stage.ask(INSIDE, seconds=0.2)
        assert (stage.tally.counts.failures, stage.failures()) == (1, 1)
        hanging.go_on.set()

    told(Stage(), story)


def test_load_alone_says_nothing_about_a_canary() -> None:
    """Neither a full queue, nor waiting in vain behind the champion's texts, is its failure."""
    hanging = Hanging()

    async def story(stage: Stage) -> None:
        stage.champion.before = hanging
        first = asyncio.create_task(stage.ask(OUTSIDE))
        assert await asyncio.to_thread(hanging.entered.wait, 20)
        waiting = asyncio.create_task(stage.ask(INSIDE, seconds=4.0))  # the canary has 0.04 s of them
        while not stage.champion_waits():
            await asyncio.sleep(0.001)
        stage.fill_the_queue()
        with pytest.raises(OverloadedError):
            await stage.ask(INSIDE)
        hanging.go_on.set()
        assert {(await task).card.version for task in (first, waiting)} == {"1"}
        assert (stage.tally.counts.failures, stage.failures()) == (0, None)

    told(Stage(patience_share=0.01), story)


def test_a_promoted_canary_answers_everybody() -> None:
    async def story(stage: Stage) -> None:
        stage.slots.switch(stage.challenger.slot)
        assert stage.slots.challenger is None
        assert {(await stage.ask(caller)).card.version for caller in CALLERS} == {"2"}

    told(Stage(), story)
