"""What operators and orchestrators ask: health, readiness, metrics."""

from http import HTTPStatus

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from services.server.api.models import HealthResponse, ReadyResponse
from services.server.api.parts import Parts
from shared.health import STALLED_SECONDS


def operations_routes(parts: Parts) -> APIRouter:
    """Tells how this replica is."""
    router = APIRouter()

    @router.get("/healthz", response_model=HealthResponse)
    async def healthz() -> JSONResponse:
        """200 while the process works; 503: restart it."""
        good, reasons = parts.health.liveness()
        if (busy := parts.engine.batcher.busy_seconds()) > STALLED_SECONDS:
            good, reasons = False, reasons | {"model": f"at one batch for {busy:.0f} s"}
        return _report(good, HealthResponse(ok=good, reasons=reasons))

    @router.get("/readyz", response_model=ReadyResponse)
    async def readyz() -> JSONResponse:
        """200 while a model serves, also when Kafka and MLflow are gone."""
        (good, reasons), now = parts.health.readiness(), parts.status.now
        report = ReadyResponse(
            ok=good,
            reasons=reasons,
            phase=now.phase,
            reason=now.reason,
            version=now.serving.version if now.serving else None,
            kafka=now.kafka_trouble or "reachable",
            registry=now.registry_trouble or "reachable",
        )
        return _report(good, report)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _report(good: bool, report: HealthResponse) -> JSONResponse:
    return JSONResponse(report.model_dump(mode="json"), HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)
