"""Every error of the API as a problem body (RFC 9457)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, computed_field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.server.api.bodies import DamagedBodyError, InflatedTooFarError, InvalidBodyError, UnsupportedBodyError
from services.server.api.disconnects import ClientGoneError
from services.server.api.lines import LineTooLongError
from services.server.api.request_ids import current_request_id
from services.server.api.watched import Watched
from services.server.batcher import BusyError, OverloadedError, TooLateError
from services.server.engine import OtherVersionError
from services.server.feedback import UnknownPredictionError
from services.server.slots import NoModelError
from shared.errors import BrokerRefusedError, BrokerUnavailableError, DeviceLostError
from shared.labels import UnknownLabelError
from shared.metrics import RequestOutcome

log = structlog.get_logger("problems")
MEDIA_TYPE = "application/problem+json"
CLOSE = {"Connection": "close"}  # for a body of which the rest is not read
CLIENT_GONE = 499  # as nginx has it
MOST_FIELDS = 20  # told of one body
WRONG_SHAPE = "the body is not what this address takes; see errors"
OUR_FAULT = "an error of the server, not of the request; its log says more, under the request's id"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 has it, with the members under which clients of other protocols look for it."""

    type: str = "about:blank"
    status: int
    detail: str | None = None
    errors: list[FieldProblem] | None = Field(None, description="By field, for a body of the wrong shape.")
    request_id: str | None = Field(
        default_factory=current_request_id, description="Names the request in the server's log; also in a header."
    )

    @computed_field(description="The status's own phrase, as RFC 9457, 4.2.1, has it for this type.")  # type: ignore[prop-decorator]
    @property
    def title(self) -> str:
        """What the status means; `detail` says what happened."""
        return HTTPStatus(self.status).phrase

    @computed_field(description="All of it in one line: where clients of Open Inference and of TEI look.")  # type: ignore[prop-decorator]
    @property
    def error(self) -> str:
        """The whole error in one line."""
        fields = (f"{each.field}: {each.message}" if each.field else each.message for each in self.errors or ())
        return "; ".join((self.detail or self.title, *fields))

    @computed_field(description="TEI's kind of error.")  # type: ignore[prop-decorator]
    @property
    def error_type(self) -> str:
        """As TEI's `ErrorType` has it."""
        return _TEI_KINDS.get(self.status, "Validation")


_TEI_KINDS: Mapping[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "Overloaded",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Backend",
    HTTPStatus.SERVICE_UNAVAILABLE: "Unhealthy",
}


class InvalidRequestError(Exception):
    """The request has the right shape but asks for what is not allowed."""


class UnknownModelError(Exception):
    """The model asked for is not the one of this stream."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """How one of our exceptions is told to a client."""

    status: HTTPStatus
    outcome: RequestOutcome
    retry: bool = False


ANSWERS: Mapping[type[Exception], _Answer] = {
    NoModelError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, RequestOutcome.NO_MODEL, retry=True),
    OverloadedError: _Answer(HTTPStatus.TOO_MANY_REQUESTS, RequestOutcome.OVERLOADED),
    TooLateError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, RequestOutcome.TIMEOUT),
    DeviceLostError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, RequestOutcome.FAILED, retry=True),
    InvalidRequestError: _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, RequestOutcome.INVALID),
    InvalidBodyError: _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, RequestOutcome.INVALID),
    UnsupportedBodyError: _Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, RequestOutcome.INVALID),
    DamagedBodyError: _Answer(HTTPStatus.BAD_REQUEST, RequestOutcome.INVALID),
    InflatedTooFarError: _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, RequestOutcome.INVALID),
    LineTooLongError: _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, RequestOutcome.INVALID),
    UnknownLabelError: _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, RequestOutcome.INVALID),
    OtherVersionError: _Answer(HTTPStatus.NOT_FOUND, RequestOutcome.INVALID),
    UnknownModelError: _Answer(HTTPStatus.NOT_FOUND, RequestOutcome.INVALID),
    UnknownPredictionError: _Answer(HTTPStatus.NOT_FOUND, RequestOutcome.INVALID),
    BrokerUnavailableError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, RequestOutcome.FAILED, retry=True),
    BrokerRefusedError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, RequestOutcome.FAILED, retry=True),
}
_FAILED = _Answer(HTTPStatus.INTERNAL_SERVER_ERROR, RequestOutcome.FAILED)


def problem(
    status: int,
    detail: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldProblem] | None = None,
) -> JSONResponse:
    """A problem response."""
    body = Problem(status=status, detail=detail, errors=errors)
    return _response(body, headers)


def _response(body: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body.model_dump(exclude_none=True), body.status, dict(headers or {}), MEDIA_TYPE)


def tell(error: Exception) -> tuple[Problem, RequestOutcome]:
    """An exception as its problem body and its outcome; one that is not foreseen as an error of the server."""
    answer = _answer(error)
    if answer is _FAILED:
        detail, errors = OUR_FAULT, None
    elif isinstance(error, InvalidBodyError):
        detail, errors = WRONG_SHAPE, field_problems(error.errors)
    else:
        detail, errors = str(error), None
    return Problem(status=answer.status, detail=detail, errors=errors), answer.outcome


def refuse(error: BusyError, scope: Scope) -> JSONResponse:
    """A problem response that says when to ask again; the request's outcome is noted in its scope."""
    body, outcome = tell(error)
    scope.setdefault("state", {})["outcome"] = outcome
    return _response(body, {"Retry-After": str(error.retry_after_seconds)})


def _answer(error: Exception) -> _Answer:
    return next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), _FAILED)


def field_problems(errors: Sequence[Any]) -> list[FieldProblem]:
    """pydantic's findings. What was sent is not repeated: it may be personal, or no text at all."""
    return [FieldProblem(field=".".join(map(str, each["loc"])), message=each["msg"]) for each in errors[:MOST_FIELDS]]


def install_problems(app: FastAPI, retry_after_seconds: int) -> None:
    """Has every error of the app answered with a problem body, and 429 and 503 with Retry-After.

    The handlers are coroutines: others would wait for a thread, and feedback may hold all of those while Kafka is gone.
    """

    async def told(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, BusyError):
            return refuse(error, request.scope)
        body, request.state.outcome = tell(error)
        return _response(body, {"Retry-After": str(retry_after_seconds)} if _answer(error).retry else None)

    for kind in ANSWERS:
        app.add_exception_handler(kind, told)
    app.add_exception_handler(ClientGoneError, _nobody_reads)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if not request.headers.get("content-type", "").startswith("application/json"):
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON with the header Content-Type: application/json")
    within_body = [each | {"loc": each["loc"][1:]} for each in error.errors()]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, WRONG_SHAPE, errors=field_problems(within_body))


async def _nobody_reads(request: Request, error: Exception) -> Response:
    request.state.outcome = RequestOutcome.ABANDONED
    return Response(status_code=CLIENT_GONE)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    return problem(error.status_code, None if error.detail == phrase else error.detail, headers=error.headers)


class Unexpected:
    """Answers what nobody foresaw with 500, and logs where it came from; an answer under way breaks off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watched = Watched(send)
        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or watched.has_begun:
                raise
            log.exception("request_failed")
            await problem(HTTPStatus.INTERNAL_SERVER_ERROR, OUR_FAULT)(scope, receive, send)
