"""Compressed bodies: requests inflated as they are read, answers deflated for those who ask for it."""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from math import inf

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.server.api.bodies import DamagedBodyError, InflatedTooFarError
from services.server.api.problems import problem
from services.server.api.protocols import is_bulk

CODINGS = ("gzip", "deflate")
PIECE_BYTES = 64 * 1024  # inflated at once: a small body may stand for gigabytes, and none of it is kept
_EITHER_HEADER = zlib.MAX_WBITS | 32  # zlib's flag for "gzip or zlib, see its first bytes"
_ZERO = re.compile(r"0(\.0*)?")  # a weight that means "not this one"
FAST = 1  # labels and scores are short, and the event loop waits meanwhile
LEAST_BYTES = 1024  # below it, compression costs more than it saves
_ENCODED = (b"content-encoding", b"content-length")  # headers that are not true of the inflated body


@dataclass(frozen=True, slots=True)
class Growth:
    """How many bytes a body may stand for: `free_bytes` of any, or `times` its own."""

    free_bytes: int = 0
    times: float = inf

    def check(self, packed: int, plain: int) -> None:
        """Raises InflatedTooFarError if so many bytes may not stand for so many."""
        if plain > max(self.free_bytes, self.times * packed):
            raise InflatedTooFarError(
                f"beyond {self.free_bytes} bytes a compressed stream may inflate to {self.times:g} times its own; "
                "send it in parts, or less compressed"
            )


class Inflated:
    """Gives the application plain bodies, whatever the client sent, in small pieces; a limit within bounds them.

    It does not bound a bulk stream; so here a stream may only stand for so many times its own bytes.
    """

    def __init__(self, app: ASGIApp, most: Growth) -> None:
        self._app, self._most_of_bulk = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        coding = Headers(scope=scope).get("content-encoding", "identity").lower() if scope["type"] == "http" else ""
        if coding in ("", "identity"):
            await self._app(scope, receive, send)
        elif coding in CODINGS:
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _ENCODED]
            most = self._most_of_bulk if is_bulk(scope) else Growth()
            await self._app(scope, InflatedBody(receive, most), send)
        else:
            headers = {"Accept-Encoding": ", ".join(CODINGS)}
            detail = f"a body may be encoded as {' or '.join(CODINGS)}, or not at all"
            await problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers=headers)(scope, receive, send)


class InflatedBody:
    """Receives the same request with its body inflated."""

    def __init__(self, receive: Receive, most: Growth) -> None:
        self._receive, self._inflator, self._most = receive, Inflator(), most
        self._packed_bytes = self._plain_bytes = 0
        self._pieces: Iterator[bytes] = iter(())
        self._more, self._ended = True, False

    async def __call__(self) -> Message:
        """The next message.

        Raises:
            DamagedBodyError: The body is no such encoding, or ends too early.
            InflatedTooFarError: It stands for more bytes than it may.
        """
        while not self._ended:
            if (part := self._next_part()) is not None:
                return part
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._more = message.get("more_body", False)
            body = message.get("body", b"")
            self._packed_bytes += len(body)
            self._pieces = self._inflator.pieces(body)
        return await self._receive()

    def _next_part(self) -> Message | None:
        """What can be told without receiving more."""
        try:
            if (piece := next(self._pieces, None)) is not None:
                self._plain_bytes += len(piece)
                self._most.check(self._packed_bytes, self._plain_bytes)
                return {"type": "http.request", "body": piece, "more_body": True}
            if self._more:
                return None
            self._inflator.finish()
        except (DamagedBodyError, InflatedTooFarError):
            self._ended = True  # whatever else comes is no part of the body
            raise
        self._ended = True
        return {"type": "http.request", "body": b"", "more_body": False}


class Inflator:
    """Inflates zlib, or gzip, of one member or several."""

    def __init__(self) -> None:
        self._stream, self._within = zlib.decompressobj(_EITHER_HEADER), False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What the data stands for, in pieces of at most PIECE_BYTES.

        Raises: DamagedBodyError if it stands for nothing.
        """
        while data:
            try:
                yield self._stream.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise DamagedBodyError from None
            data, self._within = self._stream.unconsumed_tail, True
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream, self._within = zlib.decompressobj(_EITHER_HEADER), False

    def finish(self) -> None:
        """Raises: DamagedBodyError if more should have come."""
        if self._within:
            raise DamagedBodyError


def compressed(body: bytes, headers: Headers) -> tuple[bytes, dict[str, str]]:
    """An answer as the client would like it, and the headers that say so."""
    coding = accepted(headers.get("accept-encoding", "")) if len(body) >= LEAST_BYTES else None
    match coding:
        case "gzip":
            return gzip.compress(body, FAST), {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        case "deflate":
            return zlib.compress(body, FAST), {"Content-Encoding": "deflate", "Vary": "Accept-Encoding"}
        case _:
            return body, {}


def accepted(header: str) -> str | None:
    """The first of our codings that an Accept-Encoding header takes (RFC 9110, 12.5.3); None: none of them.

    >>> accepted("br, gzip;q=0, deflate;q=0.5")
    'deflate'
    """
    for item in header.lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding in CODINGS and not _ZERO.fullmatch(weight):
            return coding
    return None
