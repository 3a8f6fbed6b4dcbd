"""Which protocol an address speaks."""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from services.server.api.bodies import NDJSON, media_type
from shared.metrics import InferenceProtocol

PREDICT_PATH = "/v1/predict"
MODEL_PATH = "/v2/models/{name}"
VERSION_PATH = "/v2/models/{name}/versions/{version}"
INVOCATIONS_PATH = "/invocations"
TEI_PATH = "/predict"
_INFER = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/infer")


def protocol_of(scope: Scope) -> InferenceProtocol | None:
    """How a request asks for predictions; None if it asks for something else."""
    path: str = scope["path"]
    if is_bulk(scope):
        return InferenceProtocol.NDJSON
    if _INFER.fullmatch(path):
        return InferenceProtocol.OPEN_INFERENCE
    return {
        PREDICT_PATH: InferenceProtocol.TIDEMILL,
        INVOCATIONS_PATH: InferenceProtocol.MLFLOW,
        TEI_PATH: InferenceProtocol.TEI,
    }.get(path)


def is_bulk(scope: Scope) -> bool:
    """Whether the body is a stream of lines, each bounded by itself."""
    return bool(scope["path"] == PREDICT_PATH) and media_type(Headers(scope=scope)) == NDJSON
