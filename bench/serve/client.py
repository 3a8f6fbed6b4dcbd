"""A bare HTTP/1.1 client: requests written as they were rendered, one at a time on a kept connection.

Client and server share the machine, so every microsecond here would be the server's; nothing is built or parsed twice.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

HOST = "127.0.0.1"
NOT_ANSWERED = 0
"""In place of a status: the connection was lost, or the run ended first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under way. Times are of the monotonic clock; `text` is the place of its request."""

    text: int
    intended: float
    sent: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A request and what became of it at `done`."""

    asked: Asked
    status: int
    done: float
    body: bytes


class Connection(asyncio.Protocol):
    """One kept connection. `told` gets every answer, `lost` the request that ended with the connection, if any."""

    def __init__(
        self, told: Callable[["Connection", Answered], None], lost: Callable[["Connection", Asked | None], None]
    ) -> None:
        self._told, self._lost = told, lost
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._asked: Asked | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_usable(self) -> bool:
        """Whether another request may be written."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def asked(self) -> Asked | None:
        """The request under way."""
        return self._asked

    def ask(self, asked: Asked, request: bytes) -> None:
        """Writes a request. None may be under way."""
        assert self._transport is not None  # it is connected
        self._asked = asked
        self._body.clear()
        self._transport.write(request)

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        asked, self._asked = self._asked, None
        self._lost(self, asked)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        asked, self._asked = self._asked, None
        if asked is None or not self._parser.should_keep_alive():
            self.close()
        if asked is not None:
            done = time.monotonic()
            self._told(self, Answered(asked, self._parser.get_status_code(), done, bytes(self._body)))


def render(path: str, body: bytes, headers: str = "") -> str:
    """A whole POST request with a JSON body. Args: headers: further lines, each with its CRLF."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body.decode()}"
