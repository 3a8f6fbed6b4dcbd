"""A request and its answer piece by piece, without a network; when the client sends and reads is the test's."""

import asyncio
import json
from typing import Any

from starlette.types import ASGIApp, Message


class Exchange:
    """One POST under way. `reads=False`: a client that takes no byte of the answer until `read` is set."""

    def __init__(self, app: ASGIApp, path: str, headers: dict[str, str], *, reads: bool = True) -> None:
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self.read = asyncio.Event()
        if reads:
            self.read.set()
        self.taken = 0  # messages that the application has received
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("server", 80),
            "client": ("127.0.0.1", 1),
            "state": {},
        }
        self.ended = asyncio.create_task(app(scope, self._receive, self._send))  # type: ignore[arg-type]

    def say(self, body: bytes, *, last: bool = False) -> None:
        self._said.put_nowait({"type": "http.request", "body": body, "more_body": not last})

    def hang_up(self) -> None:
        self._said.put_nowait({"type": "http.disconnect"})

    async def status(self) -> int:
        return int((await self._heard.get())["status"])

    async def line(self) -> dict[str, Any]:
        """The next line of the answer."""
        said: dict[str, Any] = json.loads((await self._heard.get())["body"])
        return said

    async def rest(self) -> list[dict[str, Any]]:
        """All lines that are still to come."""
        lines = []
        while (message := await self._heard.get()).get("more_body"):
            lines.append(json.loads(message["body"]))
        return lines

    async def _receive(self) -> Message:
        message = await self._said.get()
        self.taken += 1
        return message

    async def _send(self, message: Message) -> None:
        await self.read.wait()
        self._heard.put_nowait(message)
