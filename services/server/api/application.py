"""The HTTP API: routes over the engine, every error a problem body."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from services.server.api.disconnects import ClientGoneError, unless_gone
from services.server.api.docs import docs_page
from services.server.api.limits import BodyLimit, Measured
from services.server.api.models import (
    FeedbackRequest,
    FeedbackResponse,
    HealthResponse,
    ModelResponse,
    PredictRequest,
    PredictResponse,
    ReadyResponse,
    lineage_in_short,
)
from services.server.api.problems import MEDIA_TYPE, InvalidRequestError, Problem, install_problems
from services.server.engine import Engine
from services.server.slots import NoModelError
from services.server.status import Status
from shared.health import STALLED_SECONDS, Health
from shared.labels import Label
from shared.metrics import RequestOutcome, ServerMetrics
from shared.settings import ServerSettings, Settings

PREDICT_PATH = "/v1/predict"
CLIENT_GONE = 499  # as nginx has it; nobody reads it
DESCRIPTION = "Answers texts with the champion. Every answer names the model version that gave it; errors are RFC 9457."
Responses = dict[int | str, dict[str, Any]]


class ReportsLabels(Protocol):
    """Takes true labels."""

    def report(self, prediction_id: str, label: Label) -> str:
        """Publishes one label and returns its class name."""


@dataclass(frozen=True)
class Parts:
    """What the API stands on."""

    settings: Settings
    engine: Engine
    feedback: ReportsLabels
    status: Status
    health: Health
    metrics: ServerMetrics
    registry: CollectorRegistry


def build_api(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The application; `lifespan` starts and stops what it stands on."""
    app = FastAPI(
        title="Tidemill",
        version=version("tidemill"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    settings = parts.settings.server
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Measured, path=PREDICT_PATH, metrics=parts.metrics)
    install_problems(app, settings.retry_after_seconds)
    _add_predict(app, parts)
    _add_feedback(app, parts)
    _add_model(app, parts)
    _add_operations(app, parts)
    return app


def _problems(**meanings: str) -> Responses:
    """For the documents: each status with its meaning, as a problem body."""
    return {
        name.removeprefix("s"): {
            "description": meaning,
            "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for name, meaning in meanings.items()
    }


NOT_ANSWERED = _problems(
    s413="The body is too large.",
    s422="The body is not what this address takes.",
    s429="Too much is waiting; ask again after Retry-After seconds.",
    s503="No model has been promoted yet, or not answered in time; ask again after Retry-After seconds.",
)
NOT_TAKEN = _problems(
    s404="This replica remembers no such prediction.",
    s422="The label is not one of the stream's.",
    s503="Kafka did not acknowledge it; report again after Retry-After seconds.",
)


def _add_predict(app: FastAPI, parts: Parts) -> None:
    name, limits = parts.settings.stream.registered_model, parts.settings.server

    @app.post(PREDICT_PATH, response_model=PredictResponse, responses=NOT_ANSWERED)
    async def predict(body: PredictRequest, request: Request) -> PredictResponse | Response:
        """Label, calibrated score and prediction id for one `text` or for several `texts`, all by one model version."""
        texts = body.all_texts()
        _check_limits(texts, limits)
        try:
            return PredictResponse.of(name, await unless_gone(request, parts.engine.predict(texts)))
        except ClientGoneError:
            request.state.outcome = RequestOutcome.ABANDONED
            return Response(status_code=CLIENT_GONE)


def _check_limits(texts: list[str], limits: ServerSettings) -> None:
    if len(texts) > limits.max_texts:
        raise InvalidRequestError(f"{len(texts)} texts in one request, {limits.max_texts} may be; send them in parts")
    longest = max(map(len, texts))
    if longest > limits.max_text_chars:
        raise InvalidRequestError(f"a text of {longest} characters, {limits.max_text_chars} may be; shorten it")


def _add_feedback(app: FastAPI, parts: Parts) -> None:
    @app.post("/v1/feedback", status_code=HTTPStatus.ACCEPTED, response_model=FeedbackResponse, responses=NOT_TAKEN)
    async def feedback(body: FeedbackRequest) -> FeedbackResponse:
        """Publishes the true label of a served prediction as a labelled review; 202 once Kafka has it."""
        label = await run_in_threadpool(parts.feedback.report, body.prediction_id, body.label)
        return FeedbackResponse(prediction_id=body.prediction_id, label=label)


def _add_model(app: FastAPI, parts: Parts) -> None:
    stream = parts.settings.stream

    @app.get("/v1/model", response_model=ModelResponse, responses=_problems(s503="No model has been promoted yet."))
    async def model() -> ModelResponse:
        """The model that answers, and what it was made of."""
        now = parts.status.now
        if (card := now.serving) is None:
            raise NoModelError(now.reason or "no model has been promoted yet")
        return ModelResponse(
            name=stream.registered_model,
            version=card.version,
            digest=card.digest,
            labels=stream.labels,
            promoted_at=card.promoted_at,
            phase=now.phase,
            target=now.target,
            reason=now.reason,
            lineage=lineage_in_short(card),
        )


def _add_operations(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz", response_model=HealthResponse)
    async def healthz() -> JSONResponse:
        """200 while the process works; 503: restart it."""
        good, reasons = parts.health.liveness()
        if (busy := parts.engine.batcher.busy_seconds()) > STALLED_SECONDS:
            good, reasons = False, reasons | {"model": f"at one batch for {busy:.0f} s"}
        return _report(good, HealthResponse(ok=good, reasons=reasons))

    @app.get("/readyz", response_model=ReadyResponse)
    async def readyz() -> JSONResponse:
        """200 while a model serves, also when Kafka and MLflow are gone."""
        (good, reasons), now = parts.health.readiness(), parts.status.now
        report = ReadyResponse(
            ok=good,
            reasons=reasons,
            phase=now.phase,
            version=now.serving.version if now.serving else None,
            kafka=now.kafka_trouble or "reachable",
            registry=now.registry_trouble or "reachable",
        )
        return _report(good, report)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))


def _report(good: bool, report: HealthResponse) -> JSONResponse:
    return JSONResponse(report.model_dump(mode="json"), HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)
