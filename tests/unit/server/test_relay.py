"""Answers in the order of the questions, few at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.server.api.relay import relay


class Work:
    """Answers each question after it has yielded the loop so many times."""

    def __init__(self, turns: list[int]) -> None:
        self.turns, self.in_work, self.most, self.written = turns, 0, 0, list[bytes]()

    async def questions(self) -> AsyncIterator[int]:
        for number in range(len(self.turns)):
            self.in_work += 1
            self.most = max(self.most, self.in_work)
            yield number

    async def answer(self, number: int) -> bytes:
        for _ in range(self.turns[number]):
            await asyncio.sleep(0)
        return str(number).encode()

    async def write(self, answer: bytes) -> None:
        await asyncio.sleep(0)
        self.written.append(answer)
        self.in_work -= 1


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 5))
def test_answers_come_in_order_and_no_more_questions_are_in_work_than_may_be(turns: list[int], most: int) -> None:
    work = Work(turns)
    asyncio.run(relay(work.questions(), work.answer, work.write, most))
    assert work.written == [str(number).encode() for number in range(len(turns))]
    assert work.most <= most


def test_when_writing_fails_the_work_under_way_ends() -> None:
    ended = set()

    async def answer(number: int) -> bytes:
        if number == 0:
            return b""
        try:
            await asyncio.Event().wait()
        finally:
            ended.add(number)
        return b""

    async def write(answer: bytes) -> None:
        await asyncio.sleep(0)
        raise ConnectionError

    with pytest.raises(ExceptionGroup):
        asyncio.run(relay(Work([0] * 3).questions(), answer, write, 3))
    assert ended == {1, 2}
