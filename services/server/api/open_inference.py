"""The Open Inference Protocol, version 2 over HTTP, as clients of KServe and Triton speak it: `/v2`.

Source: KServe, "Open Inference Protocol", HTTP/REST.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from services.server.api.asking import Asking
from services.server.api.bodies import BINARY, JSON
from services.server.api.compression import compressed
from services.server.api.documented import (
    NOT_ANSWERED,
    OTHER_MODEL,
    answers,
    curl,
    json_of,
    operation,
    problems,
    string_of,
)
from services.server.api.operations import liveness, report
from services.server.api.parts import Parts
from services.server.api.problems import UnknownModelError
from services.server.api.protocols import MODEL_PATH, VERSION_PATH
from services.server.api.tensors import INPUT, OUTPUTS, InferRequest, InferResponse, answered, asked_of, outputs_of
from services.server.engine import OtherVersionError
from services.server.slots import NoModelError
from services.server.status import NO_MODEL

JSON_LENGTH = "Inference-Header-Content-Length"
PLATFORM = "tidemill"
_TENSOR = '{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["A master class."]}]}'
_WHICH = r"""version=$(curl -s $URL/v1/model | sed 's/.*"version":"\([^"]*\).*/\1/')
"""


class Live(BaseModel):
    """Whether the process works."""

    live: bool


class Ready(BaseModel):
    """Whether a model serves."""

    ready: bool


class ServerMetadata(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor; -1 in the shape stands for any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The model. `versions`: those that answer, the champion first, then a challenger beside it."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """The model, and that it serves."""

    name: str
    ready: bool


def open_inference_routes(asking: Asking, parts: Parts) -> APIRouter:
    """Health, metadata and inference."""
    router = APIRouter()
    stream = parts.settings.stream
    _add_health(router, parts)
    _add_metadata(router, _Model(stream.registered_model, stream.labels, parts))
    _add_inference(router, asking, stream.registered_model)
    return router


def _add_health(router: APIRouter, parts: Parts) -> None:
    tidemill_version = installed("tidemill")

    @router.get(
        "/v2/health/live",
        response_model=Live,
        responses={503: {"model": Live, "description": "The process hangs: restart it."}},
        openapi_extra=operation(examples=[curl("/v2/health/live")]),
    )
    async def live() -> Response:
        """200 while the process works."""
        good, _ = liveness(parts)
        return report(good, Live(live=good))

    @router.get(
        "/v2/health/ready",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "No model serves."}},
        openapi_extra=operation(examples=[curl("/v2/health/ready")]),
    )
    async def ready() -> Response:
        """200 while a model serves."""
        good, _ = parts.health.readiness()
        return report(good, Ready(ready=good))

    @router.get("/v2", openapi_extra=operation(examples=[curl("/v2")]))
    async def server() -> ServerMetadata:
        """The server and the extensions that it knows."""
        return ServerMetadata(name="tidemill", version=tidemill_version, extensions=["binary_tensor_data"])


@dataclass(frozen=True)
class _Model:
    """The one model of this stream."""

    name: str
    labels: Sequence[str]
    parts: Parts

    def check(self, name: str, version: str | None = None) -> None:
        """Raises UnknownModelError, NoModelError or OtherVersionError unless just this would answer."""
        check_name(name, self.name)
        versions = self.parts.engine.versions
        if not versions:
            raise NoModelError(self.parts.status.now.reason or NO_MODEL)
        if version is not None and version not in versions:
            raise OtherVersionError.of(versions)

    def metadata(self) -> ModelMetadata:
        """Names, types and shapes of its tensors."""
        outputs = [(output.name, output.datatype, output.shape(-1, len(self.labels))) for output in OUTPUTS.values()]
        return ModelMetadata(
            name=self.name,
            versions=list(self.parts.engine.versions),
            platform=PLATFORM,
            inputs=[TensorMetadata(name=INPUT, datatype="BYTES", shape=[-1])],
            outputs=[TensorMetadata(name=name, datatype=kind, shape=shape) for name, kind, shape in outputs],
        )


def check_name(asked: str, served: str) -> None:
    """Raises UnknownModelError unless the names are the same."""
    if asked != served:
        raise UnknownModelError(f"there is one model here: {served}")


def _add_metadata(router: APIRouter, model: _Model) -> None:
    of_model, of_version = MODEL_PATH.format(name=model.name), VERSION_PATH.format(name=model.name, version="$version")
    refusals = OTHER_MODEL | problems(s503="No model has been promoted yet.")

    @router.get(MODEL_PATH, responses=OTHER_MODEL, openapi_extra=operation(examples=[curl(of_model)]))
    async def metadata(name: str) -> ModelMetadata:
        """Names, types and shapes of the model's tensors."""
        check_name(name, model.name)
        return model.metadata()

    @router.get(VERSION_PATH, responses=refusals, openapi_extra=operation(examples=[_WHICH + curl(of_version)]))
    async def version_metadata(name: str, version: str) -> ModelMetadata:
        """The same, while that version serves."""
        model.check(name, version)
        return model.metadata()

    @router.get(
        f"{MODEL_PATH}/ready", responses=refusals, openapi_extra=operation(examples=[curl(f"{of_model}/ready")])
    )
    async def ready(name: str) -> ModelReady:
        """200 while the model serves."""
        model.check(name)
        return ModelReady(name=name, ready=True)

    @router.get(
        f"{VERSION_PATH}/ready",
        responses=refusals,
        openapi_extra=operation(examples=[_WHICH + curl(f"{of_version}/ready")]),
    )
    async def version_ready(name: str, version: str) -> ModelReady:
        """200 while that version serves."""
        model.check(name, version)
        return ModelReady(name=name, ready=True)


def _add_inference(router: APIRouter, asking: Asking, model_name: str) -> None:
    takes = json_of(InferRequest) | string_of(BINARY)
    responses = answers(json_of(InferResponse) | string_of(BINARY)) | NOT_ANSWERED | OTHER_MODEL
    of_model = curl(MODEL_PATH.format(name=model_name) + "/infer", _TENSOR)
    of_version = _WHICH + curl(VERSION_PATH.format(name=model_name, version="$version") + "/infer", _TENSOR)

    async def inferred(request: Request, name: str, version: str | None = None) -> Response:
        check_name(name, model_name)
        asked, texts = asked_of(await request.body(), request.headers.get(JSON_LENGTH))
        outputs_of(asked)  # a wrong name is refused before it costs an inference
        response, binary = answered(asked, await asking.ask(request, texts, version), model_name)
        return _response(response.model_dump_json(exclude_none=True).encode(), binary, request)

    @router.post(
        f"{MODEL_PATH}/infer",
        response_class=Response,
        responses=responses,
        openapi_extra=operation(takes, examples=[of_model]),
    )
    async def infer(name: str, request: Request) -> Response:
        """Answers a BYTES tensor of texts with the tensors of the model's metadata, in JSON or binary."""
        return await inferred(request, name)

    @router.post(
        f"{VERSION_PATH}/infer",
        response_class=Response,
        responses=responses,
        openapi_extra=operation(takes, examples=[of_version]),
    )
    async def version_infer(name: str, version: str, request: Request) -> Response:
        """The same, by that version or not at all."""
        return await inferred(request, name, version)


def _response(json: bytes, binary: bytes, request: Request) -> Response:
    body, headers = compressed(json + binary, request.headers)
    if binary:
        headers[JSON_LENGTH] = str(len(json))
    return Response(body, headers=headers, media_type=BINARY if binary else JSON)
