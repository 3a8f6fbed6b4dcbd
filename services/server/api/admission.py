"""Refusals before a body is read: what would be refused anyway must cost next to nothing, above all in an overload."""

from starlette.types import ASGIApp, Receive, Scope, Send

from services.server.api.asking import Asking
from services.server.api.problems import refuse
from services.server.api.protocols import is_bulk, protocol_of


class Admission:
    """Answers 429 or 503 while even a request for one short text would get it.

    A bulk stream is let in: its lines wait for their turn.
    """

    def __init__(self, app: ASGIApp, asking: Asking) -> None:
        self._app, self._asking = app, asking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._asking.refusal(scope) if _asks_for_answers(scope) else None
        await (refuse(error, scope) if error is not None else self._app)(scope, receive, send)


def _asks_for_answers(scope: Scope) -> bool:
    return scope["type"] == "http" and protocol_of(scope) is not None and not is_bulk(scope)
