"""What operators and orchestrators ask: health, readiness, metrics."""

from http import HTTPStatus

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from services.server.api.documented import curl, operation
from services.server.api.models import HealthResponse, ReadyResponse
from services.server.api.parts import Parts
from shared.health import STALLED_SECONDS


def operations_routes(parts: Parts) -> APIRouter:
    """Tells how this replica is."""
    router = APIRouter()

    @router.get(
        "/healthz",
        response_model=HealthResponse,
        responses={503: {"model": HealthResponse, "description": "It hangs: restart it."}},
        openapi_extra=operation(examples=[curl("/healthz")]),
    )
    async def healthz() -> JSONResponse:
        """200 while the process works; 503: restart it."""
        good, reasons = liveness(parts)
        return report(good, HealthResponse(ok=good, reasons=reasons))

    @router.get(
        "/readyz",
        response_model=ReadyResponse,
        responses={503: {"model": ReadyResponse, "description": "No model serves."}},
        openapi_extra=operation(examples=[curl("/readyz")]),
    )
    async def readyz() -> JSONResponse:
        """200 while a model serves, also when Kafka and MLflow are gone."""
        (good, reasons), now = parts.health.readiness(), parts.status.now
        ready = ReadyResponse(
            ok=good,
            reasons=reasons,
            phase=now.phase,
            reason=now.reason,
            version=now.serving.version if now.serving else None,
            kafka=now.kafka_trouble or "reachable",
            registry=now.registry_trouble or "reachable",
        )
        return report(good, ready)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def liveness(parts: Parts) -> tuple[bool, dict[str, str]]:
    """(whether the process works, what hangs and for how long)."""
    good, reasons = parts.health.liveness()
    if (busy := parts.engine.batcher.busy_seconds()) > STALLED_SECONDS:
        return False, reasons | {"model": f"at one batch for {busy:.0f} s"}
    return good, reasons


def report(good: bool, body: BaseModel) -> JSONResponse:
    """The body with 200, or with 503."""
    return JSONResponse(body.model_dump(mode="json"), HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)
