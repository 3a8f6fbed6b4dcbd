"""One name for each request, in its answer, its errors and its log lines."""

import re

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.server.api.headers import header
from shared.events import new_id

ID_HEADER, TRACE_HEADER = b"x-request-id", b"traceparent"
ID_FIELD = "request_id"
SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
# W3C Trace Context, section 3.2: version, trace id, parent id, flags; later versions may append.
TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Identified:
    """Takes the client's request id, or makes one, and binds it to the log lines of the request and to its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = names_of(scope)
        answered = (ID_HEADER, names[ID_FIELD].encode())

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), answered]
            await send(message)

        tokens = structlog.contextvars.bind_contextvars(**names)
        try:
            await self._app(scope, receive, named)
        finally:
            structlog.contextvars.reset_contextvars(**tokens)


def names_of(scope: Scope) -> dict[str, str]:
    """The request's id, and that of the trace that it belongs to, if the client says so.

    Source: W3C Trace Context for `traceparent`.
    """
    sent, trace = header(scope, ID_HEADER), header(scope, TRACE_HEADER)
    names = {ID_FIELD: sent.decode() if sent is not None and SANE.fullmatch(sent) else new_id()}
    if trace is not None and (found := TRACE.fullmatch(trace)):
        names["trace_id"] = found[1].decode()
    return names


def current_request_id() -> str | None:
    """Of the request that is being answered here; None outside of any."""
    name: str | None = structlog.contextvars.get_contextvars().get(ID_FIELD)
    return name
