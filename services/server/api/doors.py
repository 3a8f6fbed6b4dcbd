"""Who may ask what: one rule for every path, so that a new route is closed unless somebody opens it."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from services.server.api.headers import header
from services.server.api.problems import problem
from services.server.keys import Keys
from shared.metrics import Refusal, ServerMetrics
from shared.settings import ServerSettings

ADMIN_PREFIX = "/v1/admin"
KEY_HEADER, AUTHORIZATION, BEARER = b"x-api-key", b"authorization", b"bearer "
CHALLENGE = 'Bearer realm="tidemill"'


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a refusal is told. `error`: its code by RFC 6750, section 3.1; a request without a key gets none."""

    status: HTTPStatus
    detail: str
    error: str | None = None

    def headers(self) -> dict[str, str]:
        error = f', error="{self.error}"' if self.error else ""
        return {"WWW-Authenticate": CHALLENGE + error}


ANSWERS: Mapping[Refusal, _Answer] = {
    Refusal.NO_KEY: _Answer(
        HTTPStatus.UNAUTHORIZED, "send a key, as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"
    ),
    Refusal.WRONG_KEY: _Answer(HTTPStatus.UNAUTHORIZED, "the key is not known here", "invalid_token"),
    Refusal.NOT_ADMIN: _Answer(HTTPStatus.FORBIDDEN, "this path takes an admin key only", "insufficient_scope"),
    Refusal.ADMIN_CLOSED: _Answer(
        HTTPStatus.FORBIDDEN,
        f"{ADMIN_PREFIX} is closed, as there is no admin key; set server.admin_keys or server.admin_keys_file",
        "insufficient_scope",
    ),
}


class Doors:
    """What a path asks of whoever comes: nothing, any key, or an admin's."""

    def __init__(self, settings: ServerSettings) -> None:
        """Raises ConfigurationError for a file of keys that cannot be used."""
        self._clients = Keys(settings.api_keys, settings.api_keys_file)
        self._admins = Keys(settings.admin_keys, settings.admin_keys_file)
        self._open = frozenset(settings.open_paths)

    @property
    def asks_clients(self) -> bool:
        """Whether inference needs a key."""
        return self._clients.configured

    def takes(self, path: str) -> bool:
        """Whether the path asks for a key of either kind."""
        return is_admin(path) or (self.asks_clients and path not in self._open)

    def refusal(self, path: str, key: bytes | None) -> Refusal | None:
        """Why the request may not pass; None: it may."""
        if is_admin(path) and not self._admins.configured:
            return Refusal.ADMIN_CLOSED
        if not self.takes(path):
            return None
        if key is None:
            return Refusal.NO_KEY
        if self._admins.hold(key):
            return None
        if not self._clients.hold(key):
            return Refusal.WRONG_KEY
        return Refusal.NOT_ADMIN if is_admin(path) else None


class Guarded:
    """Lets through what the doors let through; the rest is refused before a body is read."""

    def __init__(self, app: ASGIApp, doors: Doors, metrics: ServerMetrics) -> None:
        self._app, self._doors, self._refused = app, doors, metrics.refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._doors.refusal(scope["path"], key_of(scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._refused.labels(refusal.value).inc()
        answer = ANSWERS[refusal]
        await problem(answer.status, answer.detail, headers=answer.headers())(scope, receive, send)


def is_admin(path: str) -> bool:
    """Whether the path is an administrator's."""
    return path == ADMIN_PREFIX or path.startswith(f"{ADMIN_PREFIX}/")


def key_of(scope: Scope) -> bytes | None:
    """The key that was sent; `X-API-Key` before `Authorization`, which a proxy may use for itself."""
    if (key := header(scope, KEY_HEADER)) is not None:
        return key
    said = header(scope, AUTHORIZATION)
    if said is None or said[: len(BEARER)].lower() != BEARER:
        return None
    return said[len(BEARER) :].strip()
