"""Answers in the order of the questions, as they come, with a bound on how many are in work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Asked = TypeVar("Asked")


async def relay(
    questions: AsyncIterator[Asked],
    answer: Callable[[Asked], Coroutine[Any, Any, bytes]],
    write: Callable[[bytes], Awaitable[None]],
    most_in_work: int,
) -> None:
    """Writes one answer to each question, in order. The next question is read only while fewer than `most_in_work` are
    being answered or wait to be written, so a slow writer slows the reader.

    Raises:
        ExceptionGroup: Of whatever reading, answering or writing raised; all work has ended by then.
    """
    room = asyncio.Semaphore(most_in_work)
    in_order: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()

    async def read(work: asyncio.TaskGroup) -> None:
        await room.acquire()
        async for question in questions:
            in_order.put_nowait(work.create_task(answer(question)))
            await room.acquire()
        in_order.put_nowait(None)

    async with asyncio.TaskGroup() as work:
        work.create_task(read(work))
        while (task := await in_order.get()) is not None:
            await write(await task)
            room.release()
