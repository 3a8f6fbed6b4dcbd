"""What goes around every request: a bound on the body, and the count and time of predictions."""

import time
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.server.api.headers import header, size_of
from services.server.api.problems import CLOSE, problem
from services.server.api.protocols import is_bulk, protocol_of
from services.server.api.watched import Watched
from shared.metrics import InferenceProtocol, RequestOutcome, ServerMetrics


class BodyLimit:
    """Refuses bodies above the limit: by their declared length at once, else as soon as they exceed it.

    A bulk stream may go on for ever; whoever reads it bounds its lines.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes
        self._detail = f"a body may have {max_bytes} bytes; send fewer texts at once"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_bulk(scope):
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
    """0: the body tells by itself."""
    declared = header(scope, b"content-length")
    return (size_of(declared.decode("latin-1")) or 0) if declared is not None else 0


class Measured:
    """Counts prediction requests by protocol and outcome, and times those answered with 200.

    Of a bulk stream each line is a request, which its reader counts; here only a stream that fails as a whole is.
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (protocol := protocol_of(scope)) is None:
            await self._app(scope, receive, send)
            return
        began, watched = time.perf_counter(), Watched(send)

        try:
            await self._app(scope, receive, watched)
        finally:
            outcome = scope.get("state", {}).get("outcome") or _outcome(watched.status)
            if (protocol, outcome) != (InferenceProtocol.NDJSON, RequestOutcome.OK):
                self._metrics.request_ended(protocol, outcome, time.perf_counter() - began)


def _outcome(status: int) -> RequestOutcome:
    if status < HTTPStatus.BAD_REQUEST:
        return RequestOutcome.OK
    return RequestOutcome.INVALID if status < HTTPStatus.INTERNAL_SERVER_ERROR else RequestOutcome.FAILED
