"""Whoever hangs up is not computed for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

Value = TypeVar("Value")


class ClientGoneError(Exception):
    """The client hung up before the answer; nobody reads what is sent now."""


async def unless_gone(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
    """The work's result; the work is cancelled as soon as the client hangs up. The body must have been read.

    Raises:
        ClientGoneError: The client hung up first.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        working.cancel()
        leaving.cancel()


async def gone(receive: Receive) -> None:
    """Returns once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
