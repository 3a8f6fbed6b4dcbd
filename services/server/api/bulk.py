"""Bulk: a stream of NDJSON lines, each answered as a request of its own, by the model in service at its turn."""

import asyncio
import time
from collections.abc import AsyncIterator

import structlog
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.server.api.asking import Asking, Stream
from services.server.api.bodies import NDJSON, DamagedBodyError, InflatedTooFarError, parsed
from services.server.api.callers import caller_of
from services.server.api.disconnects import ClientGoneError, gone
from services.server.api.lines import Line, LineSplitter
from services.server.api.models import Body, ModelName, PredictedText, Text
from services.server.api.problems import Problem, tell
from services.server.api.relay import relay
from shared.metrics import InferenceProtocol, RequestOutcome, ServerMetrics
from shared.settings import ServerSettings

log = structlog.get_logger("bulk")
LineId = str | int
LOOK_BYTES = 4096  # looked through at a stretch: lines may be empty, and whoever else is served waits meanwhile
Chunk = bytes | DamagedBodyError | InflatedTooFarError | None
"""A piece of the body, or why there will be no more, or None at its end."""


class BulkLine(Body):
    """One line of a bulk stream."""

    text: Text
    id: LineId | None = Field(None, description="Comes back with the answer.")


class LineName(BaseModel):
    """Which line it is about."""

    line: int = Field(description="Counted from 1, empty lines included.")
    id: LineId | None = None


class AnsweredLine(PredictedText, LineName):
    """What the model says about the text of a line."""

    model: ModelName


class RefusedLine(Problem, LineName):
    """Why a line has no answer."""


class Bulk:
    """Answers lines."""

    def __init__(self, asking: Asking, model_name: str, limits: ServerSettings, metrics: ServerMetrics) -> None:
        self._asking, self._model_name, self._metrics = asking, model_name, metrics
        self.most_in_work, self.max_line_bytes = limits.bulk_lines, limits.max_body_bytes

    async def answer(self, line: Line, stream: Stream) -> bytes:
        """The answer's line. A line that cannot be answered gets its problem, and the others go on."""
        began = time.perf_counter()
        said, outcome = await self._said(line, stream)
        self._metrics.request_ended(InferenceProtocol.NDJSON, outcome, time.perf_counter() - began)
        return said.model_dump_json(exclude_none=True).encode() + b"\n"

    async def _said(self, line: Line, stream: Stream) -> tuple[BaseModel, RequestOutcome]:
        asked = None
        try:
            asked = _asked(line)
            answered = await self._asking.ask_in_turn(asked.text, stream)
        except Exception as error:
            return _refusal(LineName(line=line.number, id=asked and asked.id), error)
        (item,) = answered.items
        model = ModelName(name=self._model_name, version=answered.card.version, plan=answered.plan)
        told = AnsweredLine(line=line.number, id=asked.id, model=model, **PredictedText.of(item).model_dump())
        return told, RequestOutcome.OK


def _asked(line: Line) -> BulkLine:
    if isinstance(line.content, Exception):
        raise line.content
    return parsed(line.content, BulkLine)


def _refusal(name: LineName, error: Exception) -> tuple[RefusedLine, RequestOutcome]:
    problem, outcome = tell(error)
    if outcome is RequestOutcome.FAILED:
        log.error("line_failed", line=name.line, error=repr(error))
    return RefusedLine(**dict(name), **dict(problem)), outcome


class BulkResponse(Response):
    """Reads a stream of lines and answers it at the same time."""

    media_type = NDJSON

    def __init__(self, bulk: Bulk, patience: float) -> None:
        """`patience`: seconds for each line, once it is read."""
        self.status_code, self.background = 200, None
        self.init_headers({"X-Accel-Buffering": "no"})  # nginx would hold answers back
        self._bulk, self._patience = bulk, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(Stream(self._patience, caller_of(Request(scope))), receive, send)
        except* ClientGoneError:
            scope.setdefault("state", {})["outcome"] = RequestOutcome.ABANDONED

    async def _answer(self, stream: Stream, receive: Receive, send: Send) -> None:
        async def write(line: bytes) -> None:
            await send({"type": "http.response.body", "body": line, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        chunks: asyncio.Queue[Chunk] = asyncio.Queue(1)
        async with asyncio.TaskGroup() as work:
            reading = work.create_task(_read(receive, chunks))
            lines = _lines(chunks, LineSplitter(self._bulk.max_line_bytes))
            await relay(lines, lambda line: self._bulk.answer(line, stream), write, self._bulk.most_in_work)
            reading.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read(receive: Receive, chunks: asyncio.Queue[Chunk]) -> None:
    """Reads the body as the chunks are taken, then waits for the client to hang up.

    Raises: ClientGoneError once it has, which ends all work for it.
    """
    end: DamagedBodyError | InflatedTooFarError | None = None
    try:
        await _pass_on(receive, chunks)
    except (DamagedBodyError, InflatedTooFarError) as error:
        end = error
    await chunks.put(end)
    await gone(receive)
    raise ClientGoneError


async def _pass_on(receive: Receive, chunks: asyncio.Queue[Chunk]) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        await chunks.put(message.get("body", b""))
        more = message.get("more_body", False)


async def _lines(chunks: asyncio.Queue[Chunk], splitter: LineSplitter) -> AsyncIterator[Line]:
    """The lines that are not empty; the last one may say why there are no more."""
    while isinstance(chunk := await chunks.get(), bytes):
        for begin in range(0, len(chunk), LOOK_BYTES):
            for line in splitter.feed(chunk[begin : begin + LOOK_BYTES]):
                yield line
            await asyncio.sleep(0)
    if chunk is not None:
        yield splitter.broken(chunk)
        return
    for line in splitter.finish():
        yield line
