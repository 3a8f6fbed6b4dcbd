"""Every error of the API as a problem body (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.server.api.disconnects import ClientGoneError
from services.server.api.request_ids import current_request_id
from services.server.batcher import OverloadedError, TimedOutError
from services.server.engine import OtherVersionError
from services.server.feedback import UnknownPredictionError
from services.server.slots import NoModelError
from shared.errors import BrokerRefusedError, BrokerUnavailableError
from shared.labels import UnknownLabelError
from shared.metrics import RequestOutcome

log = structlog.get_logger("problems")
MEDIA_TYPE = "application/problem+json"
OVERLOADED_RETRY_SECONDS = 1
CLIENT_GONE = 499  # as nginx has it
FAILED = "an error of the server, not of the request; its log says more, under the request's id"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldProblem] | None = Field(None, description="By field, for a body of the wrong shape.")
    request_id: str | None = Field(None, description="Names the request in the server's log; also in a header.")


class InvalidRequestError(Exception):
    """The request has the right shape but asks for what is not allowed."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """How one of our exceptions is told to a client."""

    status: HTTPStatus
    title: str
    outcome: RequestOutcome
    retry: bool = False


ANSWERS: Mapping[type[Exception], _Answer] = {
    NoModelError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "No model yet", RequestOutcome.NO_MODEL, retry=True),
    OverloadedError: _Answer(HTTPStatus.TOO_MANY_REQUESTS, "Too much is waiting", RequestOutcome.OVERLOADED),
    TimedOutError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "Not answered in time", RequestOutcome.TIMEOUT, retry=True),
    InvalidRequestError: _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, "Not allowed", RequestOutcome.INVALID),
    UnknownLabelError: _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, "Unknown label", RequestOutcome.INVALID),
    OtherVersionError: _Answer(HTTPStatus.NOT_FOUND, "Another version serves", RequestOutcome.INVALID),
    UnknownPredictionError: _Answer(HTTPStatus.NOT_FOUND, "Unknown prediction", RequestOutcome.INVALID),
    BrokerUnavailableError: _Answer(
        HTTPStatus.SERVICE_UNAVAILABLE, "Kafka is not there", RequestOutcome.FAILED, retry=True
    ),
    BrokerRefusedError: _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "Kafka refused", RequestOutcome.FAILED, retry=True),
}


def problem(
    status: int,
    detail: str | None = None,
    *,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldProblem] | None = None,
) -> JSONResponse:
    """A problem response. The title defaults to the status's own phrase."""
    phrase = title or HTTPStatus(status).phrase
    body = Problem(title=phrase, status=status, detail=detail, errors=errors, request_id=current_request_id())
    return JSONResponse(body.model_dump(exclude_none=True), status, dict(headers or {}), MEDIA_TYPE)


def install_problems(app: FastAPI, retry_after_seconds: int) -> None:
    """Has every error of the app answered with a problem body, and 429 and 503 with Retry-After.

    The handlers are coroutines: others would wait for a thread, and feedback may hold all of those while Kafka is gone.
    """

    async def told(request: Request, error: Exception) -> JSONResponse:
        answer = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
        request.state.outcome = answer.outcome
        headers = {}
        if answer.retry:
            headers["Retry-After"] = str(retry_after_seconds)
        elif answer.status is HTTPStatus.TOO_MANY_REQUESTS:
            headers["Retry-After"] = str(OVERLOADED_RETRY_SECONDS)
        return problem(answer.status, str(error), title=answer.title, headers=headers)

    for kind in ANSWERS:
        app.add_exception_handler(kind, told)
    app.add_exception_handler(ClientGoneError, _nobody_reads)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if not request.headers.get("content-type", "").startswith("application/json"):
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON with the header Content-Type: application/json")
    # What was sent is not repeated: it may be personal, or no text at all.
    errors = [
        FieldProblem(field=".".join(map(str, item["loc"][1:])), message=item["msg"]) for item in error.errors()[:20]
    ]
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not what this address takes; see errors", errors=errors
    )


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
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or has_begun:
                raise
            log.exception("request_failed")
            await problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)(scope, receive, send)
