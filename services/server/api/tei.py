"""Hugging Face text-embeddings-inference's protocol for classifiers: `/predict` and `/info`.

Source: text-embeddings-inference, docs/openapi.json. One difference: there a list of two strings is a pair to be judged
together; this model reads single texts, so a list of strings is a batch here.
"""

from importlib.metadata import version as installed
from math import log
from sys import float_info
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.server.api.asking import Asking
from services.server.api.documented import NOT_ANSWERED, curl, operation, problems
from services.server.api.models import Text
from services.server.api.parts import Parts
from services.server.api.problems import InvalidRequestError
from services.server.api.protocols import TEI_PATH
from services.server.engine import Answer
from services.server.slots import NoModelError
from services.server.status import NO_MODEL
from shared.classifier.capability import token_budget
from shared.settings import Settings

VERSION_HEADER, PLAN_HEADER = "X-Model-Version", "X-Model-Plan"
Single = Annotated[list[Text], Field(min_length=1, max_length=1)]


class TeiRequest(BaseModel):
    """One text or a batch; what is not known here is passed over, as TEI does."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    inputs: Text | list[Text] | list[Single] = Field(examples=["A three-hour master class."])
    raw_scores: bool = Field(False, description="Logarithms of the probabilities: logits, up to a constant.")
    truncate: bool | None = Field(None, description="False: a text longer than the model reads is refused.")
    truncation_direction: Literal["right", "Right"] = "right"

    def texts(self) -> list[str]:
        """The texts in order."""
        if isinstance(self.inputs, str):
            return [self.inputs]
        return [each if isinstance(each, str) else each[0] for each in self.inputs]


class TeiPrediction(BaseModel):
    """One label of one text."""

    score: float
    label: str


TeiResponse = list[TeiPrediction] | list[list[TeiPrediction]]


class Labels(BaseModel):
    """Labels by number and numbers by label."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class ModelType(BaseModel):
    """What kind of model it is."""

    classifier: Labels


class Info(BaseModel):
    """The model and the server's limits, under TEI's names."""

    model_id: str
    model_sha: str
    model_dtype: str = Field(description="Of the reference; the plan that answers may compute otherwise.")
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str


def tei_routes(asking: Asking, parts: Parts) -> APIRouter:
    """Predictions and the model's description."""
    router = APIRouter()

    @router.post(
        TEI_PATH,
        response_model=TeiResponse,
        responses=NOT_ANSWERED,
        openapi_extra=operation(
            examples=[
                curl(TEI_PATH, '{"inputs": "A three-hour master class."}'),
                curl(TEI_PATH, '{"inputs": [["A three-hour master class."], ["Dull."]], "raw_scores": true}'),
            ]
        ),
    )
    async def predict(body: TeiRequest, request: Request, response: Response) -> TeiResponse:
        """Every label with its score, the best first: a list for one text, a list of lists for a batch.

        Headers name the model's version and plan, for which TEI's shape has no room.
        """
        given = await asking.ask(request, body.texts())
        if body.truncate is False and any(item.answer.truncated for item in given.items):
            raise InvalidRequestError("a text is longer than the model reads; let it truncate, or shorten the text")
        response.headers.update({VERSION_HEADER: given.card.version, PLAN_HEADER: given.plan})
        ranked = [_ranked(item.answer, raw=body.raw_scores) for item in given.items]
        return ranked[0] if isinstance(body.inputs, str) else ranked

    @router.get(
        "/info",
        responses=problems(s503="No model has been promoted yet."),
        openapi_extra=operation(examples=[curl("/info")]),
    )
    async def info() -> Info:
        """The model in service and the server's limits."""
        if (serving := parts.status.now.serving) is None:
            raise NoModelError(parts.status.now.reason or NO_MODEL)
        return _info(parts.settings, serving.digest)

    return router


def _ranked(answer: Answer, *, raw: bool) -> list[TeiPrediction]:
    ranked = sorted(answer.scores.items(), key=lambda scored: -scored[1])
    return [TeiPrediction(label=label, score=_logit(score) if raw else score) for label, score in ranked]


def _logit(probability: float) -> float:
    """Softmax brings the probabilities back. JSON has no infinity, so 0 counts as the smallest number above it."""
    return log(max(probability, float_info.min))


def _info(settings: Settings, digest: str) -> Info:
    labels = settings.stream.labels
    return Info(
        model_id=settings.stream.registered_model,
        model_sha=digest,
        model_dtype="float32",
        model_type=ModelType(
            classifier=Labels(
                id2label={str(number): label for number, label in enumerate(labels)},
                label2id={label: number for number, label in enumerate(labels)},
            )
        ),
        max_concurrent_requests=settings.server.queue_tokens // settings.model.max_tokens,
        max_input_length=settings.model.max_tokens,
        max_batch_tokens=token_budget(settings.model),
        max_client_batch_size=settings.server.max_texts,
        auto_truncate=True,
        tokenization_workers=1,
        version=installed("tidemill"),
    )
