"""MLflow's scoring protocol, as `mlflow models serve` speaks it for a text classifier.

Rows come as `dataframe_split`, `dataframe_records`, `instances`, `inputs` or CSV. The text is in the column `text`, or
in the only one. Source: MLflow, "Local inference server", REST API; answers as its transformers flavour gives them.
"""

import csv
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version as installed
from io import StringIO
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from services.server.api import bodies
from services.server.api.asking import Asking
from services.server.api.documented import NOT_ANSWERED, answers, curl, json_of, operation, problems, string_of
from services.server.api.models import Body, ModelName, Text
from services.server.api.parts import Parts
from services.server.api.problems import InvalidRequestError, problem
from services.server.api.protocols import INVOCATIONS_PATH
from services.server.engine import Predictions

COLUMN = "text"
ALIVE = b"\n"  # MLflow's own answer to a ping
Record = dict[str, Text]
Row = Annotated[list[Text], Field(min_length=1, max_length=1)]
Value = TypeVar("Value")
Rows = Text | list[Text] | list[Row] | list[Record] | dict[str, Text | list[Text]]


class Split(Body):
    """A data frame, as pandas writes it with orient="split"."""

    columns: list[str | int] | None = None
    index: list[Any] | None = None
    data: list[list[Any]]


class Params(Body):
    """What a client may ask of the pipeline, as far as it changes nothing here."""

    top_k: Literal[1] | None = None
    truncation: Literal[True] | None = None
    padding: bool | None = None
    batch_size: int | None = Field(None, ge=1)


class InvocationsRequest(Body):
    """Rows of texts in one of MLflow's shapes."""

    dataframe_split: Split | None = None
    dataframe_records: list[Record] | None = None
    instances: Rows | None = None
    inputs: Rows | None = None
    params: Params | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> "InvocationsRequest":
        shapes = (self.dataframe_split, self.dataframe_records, self.instances, self.inputs)
        if sum(shape is not None for shape in shapes) != 1:
            raise ValueError("give exactly one of dataframe_split, dataframe_records, instances and inputs")
        return self

    def texts(self) -> list[str]:
        """The texts, row by row.

        Raises: InvalidRequestError if it does not show which column holds them.
        """
        if self.dataframe_split is not None:
            return texts_of_table(self.dataframe_split.columns, self.dataframe_split.data)
        if self.dataframe_records is not None:
            return texts_of_rows(self.dataframe_records)
        rows = self.instances if self.inputs is None else self.inputs
        return texts_of_rows(rows) if rows is not None else []


class ScoredRow(BaseModel):
    """What the model says about one row, as MLflow's transformers flavour has it."""

    label: str
    score: float


class InvocationsResponse(BaseModel):
    """One prediction a row. What stands beside them is ours; MLflow's clients pass over it."""

    predictions: list[ScoredRow]
    prediction_ids: list[str] = Field(description="For feedback, row by row.")
    model: ModelName

    @classmethod
    def of(cls, name: str, given: Predictions) -> "InvocationsResponse":
        """The answers as MLflow gives them."""
        return cls(
            predictions=[ScoredRow(label=item.answer.label, score=item.answer.score) for item in given.items],
            prediction_ids=[item.prediction_id for item in given.items],
            model=ModelName(name=name, version=given.card.version, plan=given.plan),
        )


def mlflow_routes(asking: Asking, parts: Parts) -> APIRouter:
    """Health, version and predictions."""
    router = APIRouter()
    model_name, mlflow_version = parts.settings.stream.registered_model, installed("mlflow")

    for path in ("/ping", "/health"):
        router.get(
            path,
            response_class=Response,
            responses=answers(string_of()) | problems(s503="No model serves."),
            openapi_extra=operation(examples=[curl(path)]),
        )(_ping(parts))

    @router.get(
        "/version",
        response_class=Response,
        responses=answers(string_of()),
        openapi_extra=operation(examples=[curl("/version")]),
    )
    async def version() -> Response:
        """The version of MLflow whose protocol this is."""
        return Response(mlflow_version, media_type=bodies.TEXT)

    @router.post(
        INVOCATIONS_PATH,
        response_model=InvocationsResponse,
        responses=NOT_ANSWERED,
        openapi_extra=operation(
            json_of(InvocationsRequest) | string_of(bodies.CSV),
            examples=[
                curl(INVOCATIONS_PATH, '{"dataframe_split": {"columns": ["text"], "data": [["A master class."]]}}'),
                curl(INVOCATIONS_PATH, '{"inputs": ["A three-hour master class.", "Dull."]}'),
                curl(INVOCATIONS_PATH, 'text\n"A three-hour master class."\nDull.', bodies.CSV),
            ],
        ),
    )
    async def invocations(request: Request) -> Response:
        """Label and score of each row, all by one model version; rows in any of MLflow's shapes, or CSV."""
        texts = await _texts(request)
        answer = InvocationsResponse.of(model_name, await asking.ask(request, texts))
        return Response(answer.model_dump_json(), media_type=bodies.JSON)

    return router


def _ping(parts: Parts) -> Callable[[], Awaitable[Response]]:
    async def ping() -> Response:
        """200 while a model serves."""
        ready, reasons = parts.health.readiness()
        if ready:
            return Response(ALIVE, media_type=bodies.TEXT)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons.values()))

    return ping


async def _texts(request: Request) -> list[str]:
    content = await bodies.content_of(request, bodies.JSON, bodies.CSV)
    if bodies.media_type(request.headers) == bodies.CSV:
        return texts_of_csv(bodies.decoded(content, request.headers))
    return bodies.parsed(content, InvocationsRequest).texts()


def texts_of_rows(rows: Rows) -> list[str]:
    """The texts of `instances` or `inputs`: one text, or rows, or columns."""
    if isinstance(rows, str):
        return [rows]
    if isinstance(rows, dict):
        column = picked(rows)
        return [column] if isinstance(column, str) else column
    return [_text_of_row(row) for row in rows]


def _text_of_row(row: str | Row | Record) -> str:
    if isinstance(row, str):
        return row
    return picked(row) if isinstance(row, dict) else row[0]


def texts_of_csv(content: str) -> list[str]:
    """The texts of a CSV file with a header."""
    try:
        columns, *rows = [row for row in csv.reader(StringIO(content, newline=""), strict=True) if row]
    except (ValueError, csv.Error):
        raise InvalidRequestError("the body is no CSV with a header and rows") from None
    return texts_of_table(columns, rows)


def texts_of_table(columns: Sequence[str | int] | None, rows: Sequence[Sequence[Any]]) -> list[str]:
    """The texts of a table.

    Raises: InvalidRequestError if a row is longer or shorter than the header, or holds no text in the column.
    """
    names = [str(column) for column in columns] if columns is not None else [COLUMN]
    if any(len(row) != len(names) for row in rows):
        raise InvalidRequestError("a row has another number of fields than there are columns")
    texts = [picked(dict(zip(names, row, strict=True))) for row in rows]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequestError("a row has something else than a text in the column of texts")
    return texts


def picked(record: Mapping[str, Value]) -> Value:
    """What the column of texts holds.

    Raises: InvalidRequestError if it does not show which one that is.
    """
    if COLUMN in record:
        return record[COLUMN]
    if len(record) == 1:
        return next(iter(record.values()))
    raise InvalidRequestError(f"name the column of texts {COLUMN!r}, or send no other")
