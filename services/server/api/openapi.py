"""The API's document: what FastAPI makes of the routes, with the shapes that they only name."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from services.server.api.bulk import AnsweredLine, BulkLine
from services.server.api.doors import Doors
from services.server.api.mlflow_scoring import InvocationsRequest
from services.server.api.models import PredictRequest
from services.server.api.problems import Problem
from services.server.api.secured import secured
from services.server.api.tensors import InferRequest, InferResponse

TAKEN = (PredictRequest, BulkLine, InferRequest, InvocationsRequest)
GIVEN = (Problem, AnsweredLine, InferResponse)
_NEVER = "HTTPValidationError"  # FastAPI names it where a path has a parameter; every name is a string


def install_document(app: FastAPI, doors: Doors) -> None:
    """Has the app tell the whole document."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = secured(_completed(made()), doors)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    modes = [(model, "validation") for model in TAKEN] + [(model, "serialization") for model in GIVEN]
    _, schemas = models_json_schema(modes, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    components = document["components"]["schemas"]
    for name in (_NEVER, "ValidationError"):
        components.pop(name, None)
    components.update(schemas["$defs"])
    for methods in document["paths"].values():
        for operation in methods.values():
            if _NEVER in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    return document
