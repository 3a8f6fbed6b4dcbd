"""Both models are asked about copies, when nothing waits."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from services.server.batcher import Batcher
from services.server.comparer import ChallengerFailedError, Comparer, compare
from services.server.engine import Answer, Prediction
from shared.classifier.plan import Plan
from shared.events import ServingRole
from shared.settings import load_settings
from tests.unit.server.fakes import FakeModel
from tests.unit.server.test_canary_engine import INSIDE, OUTSIDE, Stage, fail, running


def told(stage: Stage, story: Callable[[Stage, Comparer], Awaitable[None]], **settings: Any) -> None:
    async def within() -> None:
        loaded = load_settings(server={"canary": settings})
        comparer = Comparer(loaded, stage.slots, stage.engine.batcher, stage.engine._metrics.canary)
        stage.engine.also_tell(comparer.keep)
        async with asyncio.timeout(30), running(stage):
            task = asyncio.create_task(comparer.run())
            await story(stage, comparer)
            task.cancel()

    asyncio.run(within())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("certainty", [0.25, 0.75])
def test_labels_and_scores_are_compared_by_the_champions_label(certainty: float) -> None:
    pair = compare("a film", FakeModel(0.9), FakeModel(certainty), 100)
    assert pair.agrees == (certainty > 0.5)
    assert pair.difference == pytest.approx(0.9 - certainty, abs=1e-6)
    assert pair.seconds > 0
    assert pair.champion_seconds > 0


@dataclass
class Planned(FakeModel):
    """Under any plan of its precision, as the server's own models are."""

    shape: str = "fake-1x1"

    def under(self, plan: Plan) -> "Planned":
        return replace(self, plan=plan.id)


@pytest.mark.parametrize(
    ("champion", "challenger", "is_timed"),
    [
        ("torch-fp32-t2-b1024", "torch-fp32-t2-b1024", True),
        ("torch-fp32-t1-b256", "torch-fp32-t2-b1024", True),
        ("torch-int8-t2-b1024", "torch-fp32-t2-b1024", False),
    ],
)
def test_times_count_only_where_both_can_compute_by_one_plan(champion: str, challenger: str, is_timed: bool) -> None:
    """A champion that was switched to int8 is faster than any challenger, which is loaded in fp32."""
    models = Planned(plan=champion), Planned(plan=challenger)
    assert compare("a film", *models, 100).is_timed is is_timed


def test_what_is_not_timed_adds_to_no_seconds() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        stage.champion.plan, stage.model.plan = "torch-int8-t2-b1024", "torch-fp32-t2-b1024"
        await stage.ask(OUTSIDE)
        await until(lambda: stage.tally.counts.compared == 1)
        counts = stage.tally.counts
        assert (counts.timed, counts.seconds, counts.champion_seconds) == (0, 0.0, 0.0)
        labels = {"version": "2", "role": "shadow"}
        assert stage.collector.get_sample_value("tidemill_canary_compared_seconds_total", labels) is None

    told(Stage(ServingRole.SHADOW, 1.0), story)


def test_whose_fault_a_failure_is_is_told_apart() -> None:
    with pytest.raises(ChallengerFailedError, match="a model that fails"):
        compare("a film", FakeModel(), FakeModel(before=fail), 100)
    with pytest.raises(ValueError, match="a model that fails"):
        compare("a film", FakeModel(before=fail), FakeModel(), 100)


def test_a_shadow_is_asked_what_the_champion_was_asked() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        await stage.ask(OUTSIDE)
        await until(lambda: stage.tally.counts.compared == 1)
        counts = stage.tally.counts
        assert (counts.disagreements, counts.answers) == (1, 0)
        assert counts.score_difference == pytest.approx(0.5)
        value = stage.collector.get_sample_value
        assert value("tidemill_canary_compared_texts_total", {"version": "2"}) == 1
        assert value("tidemill_canary_disagreements_total", {"version": "2"}) == 1
        assert len(stage.kept) == 1  # what is compared is no answer

    told(Stage(ServingRole.SHADOW, 1.0), story)


def test_of_a_canary_only_its_own_texts_are_compared() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        await stage.ask(OUTSIDE)
        await stage.ask(INSIDE)
        await until(lambda: stage.tally.counts.compared == 1)
        assert not comparer._copies

    told(Stage(), story, compare_share=1.0)


def test_nothing_is_compared_while_something_waits_and_what_finds_no_room_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked, resting = asyncio.Event(), False

    def looks(batcher: object) -> bool:
        looked.set()
        return resting

    async def story(stage: Stage, comparer: Comparer) -> None:
        nonlocal resting
        monkeypatch.setattr(Batcher, "is_idle", property(looks))
        answer = Answer("a film", "negative", {"negative": 0.75, "positive": 0.25}, truncated=False)
        comparer.keep([Prediction("p", "1", answer)] * 6)
        assert stage.collector.get_sample_value("tidemill_canary_copies_dropped_total") == 3
        await looked.wait()
        assert len(comparer._copies) == 3  # whoever looks takes a text at once, or none
        resting = True
        comparer.keep([Prediction("p", "1", answer)])  # no room, but it wakes
        await until(lambda: stage.tally.counts.compared == 3)

    told(Stage(ServingRole.SHADOW, 1.0), story, waiting_copies=3)


def test_a_text_that_the_challenger_takes_too_long_for_is_passed_over_and_tried_again_later() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        stage.challenger.slot.latency.observe(5, 1.5)
        await stage.ask(OUTSIDE)
        await until(lambda: stage.collector.get_sample_value("tidemill_canary_copies_dropped_total") == 1)
        assert stage.model.calls == []
        comparer._compared_at = -math.inf
        await stage.ask(OUTSIDE)
        await until(lambda: stage.tally.counts.compared == 1)
        assert stage.challenger.slot.latency.seconds(5, 100) < 1.5

    told(Stage(ServingRole.SHADOW, 1.0), story, max_compare_seconds=1.0)


def test_a_canary_that_is_asked_nothing_any_more_is_compared_on_what_the_champion_answered() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        comparer._compared_at = -math.inf
        await stage.ask(OUTSIDE)
        await until(lambda: stage.tally.counts.compared == 1)

    told(Stage(), story, compare_share=0.0)


def test_a_shadow_that_fails_is_counted_and_the_next_text_is_compared() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        stage.model.before = fail
        await stage.ask(OUTSIDE)
        await until(lambda: stage.tally.counts.failures == 1)
        stage.model.before = lambda texts: None
        await stage.ask(OUTSIDE)
        await until(lambda: stage.tally.counts.compared == 1)

    told(Stage(ServingRole.SHADOW, 1.0), story)


def test_with_nobody_beside_the_champion_nothing_is_copied() -> None:
    async def story(stage: Stage, comparer: Comparer) -> None:
        stage.slots.place_beside(None)
        await stage.ask(OUTSIDE)
        assert not comparer._copies

    told(Stage(ServingRole.SHADOW, 1.0), story)
