"""One line a request, for a share of them: who asked what of whom, and how it ended. Never a text."""

import random
import time
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.server.api.watched import Watched
from services.server.engine import Predictions

log = structlog.get_logger("access")
LONGEST_PATH = 200  # characters; an address that no route knows may be anything
REFUSALS_A_SECOND = 5  # told of those without a right key: enough to find who guesses, too few to fill a disk


class AccessLog:
    """Logs a share of the requests, every one on which the server failed, and some a second of those without a key."""

    def __init__(self, app: ASGIApp, share: float) -> None:
        self._app, self._share = app, share
        self._refusals = Allowance(REFUSALS_A_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, watched = time.perf_counter(), Watched(send)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            # Whatever status was sent before, the answer has broken off.
            log.error("request", **line(scope, watched.status, time.perf_counter() - began), error=repr(error))
            raise
        if is_failure(watched.status):
            log.error("request", **line(scope, watched.status, time.perf_counter() - began))
        elif random.random() < self._share or (is_refusal(watched.status) and self._refusals.take(time.monotonic())):
            log.info("request", **line(scope, watched.status, time.perf_counter() - began))


class Allowance:
    """So many a second, counted by whole seconds."""

    def __init__(self, a_second: int) -> None:
        self._a_second, self._second, self._taken = a_second, 0, 0

    def take(self, now: float) -> bool:
        """Whether one more is allowed at this time, in seconds that never fall."""
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        self._taken += 1
        return self._taken <= self._a_second


def is_refusal(status: int) -> bool:
    """Whether the request came without a right key."""
    return status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def is_failure(status: int) -> bool:
    """Whether the server failed. 503 is a refusal: a line for each would add to the load that it sheds."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE


def line(scope: Scope, status: int, seconds: float) -> dict[str, Any]:
    """What is told of a request; its ids are bound to the log already."""
    state, route, client = scope.get("state", {}), scope.get("route"), scope.get("client")
    known = {name: state[name] for name in ("texts", "version", "outcome") if name in state}
    return {
        "client": client[0] if client else None,
        "method": scope["method"],
        "path": getattr(route, "path", scope["path"][:LONGEST_PATH]),
        "status": status,
        "seconds": round(seconds, 6),
        **known,
    }


def note_answers(request: Request, answers: Predictions) -> None:
    """Has the request's line tell how many texts were answered, and by which version."""
    state = request.scope.setdefault("state", {})
    state["texts"] = state.get("texts", 0) + len(answers.items)
    state["version"] = answers.card.version
