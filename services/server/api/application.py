"""The HTTP API: routes over the engine, every error a problem body."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from services.server.api.access_log import AccessLog
from services.server.api.admin import admin_routes
from services.server.api.asking import Asking
from services.server.api.docs import docs_page
from services.server.api.doors import Doors, Guarded
from services.server.api.feedback import feedback_routes
from services.server.api.limits import BodyLimit, Measured
from services.server.api.model import model_routes
from services.server.api.operations import operations_routes
from services.server.api.parts import Parts
from services.server.api.predict import PREDICT_PATH, predict_routes
from services.server.api.problems import Unexpected, install_problems
from services.server.api.request_ids import Identified
from services.server.api.secured import secured

DESCRIPTION = "Answers texts with the champion. Every answer names the model version that gave it; errors are RFC 9457."


class _Api(FastAPI):
    """Tells in its document which operations ask for a key."""

    def __init__(self, doors: Doors, **options: Any) -> None:
        super().__init__(**options)
        self._doors = doors

    def openapi(self) -> dict[str, Any]:
        """As FastAPI makes it, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = secured(super().openapi(), self._doors)
        return self.openapi_schema


def build_api(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The application; `lifespan` starts and stops what it stands on."""
    settings, stream = parts.settings.server, parts.settings.stream
    doors = Doors(settings)
    app = _Api(
        doors,
        title="Tidemill",
        version=version("tidemill"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    # The first added is the innermost.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Measured, path=PREDICT_PATH, metrics=parts.metrics)
    app.add_middleware(Guarded, doors=doors, metrics=parts.metrics)
    app.add_middleware(Unexpected)
    app.add_middleware(AccessLog, share=settings.access_log_share)
    app.add_middleware(Identified)
    install_problems(app, settings.retry_after_seconds)
    asking = Asking(parts.engine, settings)
    app.include_router(predict_routes(asking, stream.registered_model))
    app.include_router(feedback_routes(parts.feedback))
    app.include_router(model_routes(parts.status, stream))
    app.include_router(operations_routes(parts))
    app.include_router(admin_routes(parts.look))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    return app
