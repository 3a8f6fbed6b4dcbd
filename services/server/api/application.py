"""The HTTP API: routes over the engine, every error a problem body."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from services.server.api.access_log import AccessLog
from services.server.api.admin import admin_routes
from services.server.api.admission import Admission
from services.server.api.asking import Asking
from services.server.api.bulk import Bulk
from services.server.api.compression import Growth, Inflated
from services.server.api.docs import docs_page
from services.server.api.doors import Doors, Guarded
from services.server.api.feedback import feedback_routes
from services.server.api.limits import BodyLimit, Measured
from services.server.api.mlflow_scoring import mlflow_routes
from services.server.api.model import model_routes
from services.server.api.open_inference import open_inference_routes
from services.server.api.openapi import install_document
from services.server.api.operations import operations_routes
from services.server.api.parts import Parts
from services.server.api.predict import predict_routes
from services.server.api.problems import Unexpected, install_problems
from services.server.api.request_ids import Identified
from services.server.api.tei import tei_routes

DESCRIPTION = "Answers texts with the champion. Every answer names the model version that gave it; errors are RFC 9457."


def build_api(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The application; `lifespan` starts and stops what it stands on."""
    settings, stream = parts.settings.server, parts.settings.stream
    doors = Doors(settings)
    app = FastAPI(
        title="Tidemill",
        version=version("tidemill"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    # The first added is the innermost.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Inflated, most=Growth(settings.max_body_bytes, settings.bulk_inflation))
    asking = Asking(parts.engine, settings)
    app.add_middleware(Admission, asking=asking)
    app.add_middleware(Measured, metrics=parts.metrics)
    app.add_middleware(Guarded, doors=doors, metrics=parts.metrics)
    app.add_middleware(Unexpected)
    app.add_middleware(AccessLog, share=settings.access_log_share)
    app.add_middleware(Identified)
    install_problems(app, settings.retry_after_seconds)
    bulk = Bulk(asking, stream.registered_model, settings, parts.metrics)
    app.include_router(predict_routes(asking, bulk, stream.registered_model))
    app.include_router(open_inference_routes(asking, parts))
    app.include_router(mlflow_routes(asking, parts))
    app.include_router(tei_routes(asking, parts))
    app.include_router(feedback_routes(parts.feedback))
    app.include_router(model_routes(parts.status, stream))
    app.include_router(operations_routes(parts))
    app.include_router(admin_routes(parts.look))
    install_document(app, doors)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    return app
