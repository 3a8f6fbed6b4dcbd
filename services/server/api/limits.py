"""What goes around every request: a bound on the body, and the count and time of predictions."""

import time
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.server.api.problems import problem
from shared.metrics import RequestOutcome, ServerMetrics

CLOSE = {"Connection": "close"}  # what is left of the body is not read


class BodyLimit:
    """Refuses bodies above the limit: by their declared length at once, else as soon as they exceed it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes
        self._detail = f"a body may have {max_bytes} bytes; send fewer texts at once"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared_length(scope) > self._max_bytes:
            refusal = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._detail, headers=CLOSE)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._detail, CLOSE)
            return message

        return counted


def _declared_length(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


class Measured:
    """Counts the requests of one path by outcome, and times those answered with 200."""

    def __init__(self, app: ASGIApp, path: str, metrics: ServerMetrics) -> None:
        self._app, self._path, self._metrics = app, path, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            outcome = scope.get("state", {}).get("outcome") or _outcome(status)
            self._metrics.requests.labels(outcome.value).inc()
            if outcome is RequestOutcome.OK:
                self._metrics.latency.observe(time.perf_counter() - began)


def _outcome(status: int) -> RequestOutcome:
    if status < HTTPStatus.BAD_REQUEST:
        return RequestOutcome.OK
    return RequestOutcome.INVALID if status < HTTPStatus.INTERNAL_SERVER_ERROR else RequestOutcome.FAILED
