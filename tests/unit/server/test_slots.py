import asyncio

import pytest

from services.server.slots import Challenger, NoModelError, Slot, Slots, Stage, drain
from services.server.tally import Tally
from shared.canary import Canary
from shared.events import ServingRole
from tests.unit.server.fakes import slot


def test_without_a_model_nobody_is_let_in() -> None:
    with pytest.raises(NoModelError), Slots().use():
        pass


def test_the_next_request_gets_the_candidate_and_the_one_under_way_keeps_its_model() -> None:
    slots, first, second = Slots(), slot("1"), slot("2")
    slots.switch(first)
    with slots.use() as mine:
        assert slots.switch(second) is first
        with slots.use() as theirs:
            assert (mine.card.version, theirs.card.version) == ("1", "2")
        assert mine.model is not None


def test_a_retired_model_is_let_go_only_after_its_last_request() -> None:
    async def story() -> None:
        slots, first = Slots(), slot("1")
        slots.switch(first)
        with slots.use():
            with slots.use():
                slots.switch(slot("2"))
                draining = asyncio.create_task(drain(first))
            await asyncio.sleep(0)
            assert not draining.done()
            assert first.model is not None
        await draining
        with pytest.raises(NoModelError, match="version 1 was retired"):
            _ = first.model

    asyncio.run(story())


def beside(model: Slot, share: float = 0.5) -> Challenger:
    return Challenger(Canary(model.card.version, ServingRole.CANARY, share), model, Tally())


def test_a_challenger_leaves_when_another_takes_its_place_or_nobody_does() -> None:
    slots, second, third = Slots(), slot("2"), slot("3")
    assert slots.place_beside(beside(second)) is None
    assert slots.place_beside(beside(second, share=0.9)) is None
    assert slots.place_beside(beside(third)) is second
    assert slots.place_beside(None) is third
    assert slots.challenger is None


def test_a_challenger_that_becomes_champion_is_beside_nobody() -> None:
    slots, first, second = Slots(), slot("1"), slot("2")
    slots.switch(first)
    slots.place_beside(beside(second))
    assert slots.switch(second) is first
    assert (slots.current, slots.challenger) == (second, None)


def test_another_thread_switches_and_drains_on_the_loop() -> None:
    async def story() -> None:
        slots, first, second = Slots(), slot("1"), slot("2")
        stage = Stage(slots, asyncio.get_running_loop())
        assert await asyncio.to_thread(stage.switch, first) is None
        retired = await asyncio.to_thread(stage.switch, second)
        assert retired is first
        await asyncio.to_thread(stage.drain, first)
        assert slots.current is second
        with pytest.raises(NoModelError):
            _ = first.model

    asyncio.run(story())


def test_a_model_is_replaced_only_while_it_serves() -> None:
    async def story() -> None:
        slots, first, better, second = Slots(), slot("1"), slot("1"), slot("2")
        stage = Stage(slots, asyncio.get_running_loop())
        slots.switch(first)
        assert await asyncio.to_thread(stage.replace, first, better)
        slots.switch(second)
        assert not await asyncio.to_thread(stage.replace, better, first)
        assert slots.current is second

    asyncio.run(story())
