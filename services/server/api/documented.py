"""Words for what the API's document (OpenAPI) says of an address beside its types: bodies, refusals, examples."""

import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from services.server.api.bodies import JSON, NDJSON, TEXT
from services.server.api.problems import MEDIA_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]
Content = dict[str, dict[str, Any]]
SAMPLES = "x-codeSamples"  # as Redoc and others have it
LINE_SCHEMA = "x-itemSchema"  # of a stream; OpenAPI has itemSchema from 3.2 on


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A reference into the document's components; `openapi.py` puts the model there."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def json_of(model: type[BaseModel]) -> Content:
    """JSON of this shape."""
    return {JSON: {"schema": schema_of(model)}}


def lines_of(model: type[BaseModel]) -> Content:
    """Lines of JSON, each of this shape."""
    return {NDJSON: {"schema": {"type": "string"}, LINE_SCHEMA: schema_of(model)}}


def string_of(media_type: str = TEXT) -> Content:
    """Text, or bytes."""
    return {media_type: {"schema": {"type": "string"}}}


def answers(content: Content) -> Responses:
    """What 200 brings."""
    return {200: {"content": content}}


def operation(takes: Content | None = None, *, examples: Sequence[str]) -> dict[str, Any]:
    """What an operation takes, and shell lines that ask for it."""
    samples = {SAMPLES: [{"lang": "Shell", "source": example} for example in examples]}
    return samples if takes is None else samples | {"requestBody": {"required": True, "content": takes}}


def curl(path: str, data: str | None = None, kind: str = JSON) -> str:
    """A shell line that asks the server at $URL; with data it is a POST.

    >>> curl("/v1/model")
    'curl -s $URL/v1/model'
    """
    line = f"curl -s $URL{path}"
    if data is None:
        return line
    return f"{line} -H 'Content-Type: {kind}' --data-binary {shlex.quote(data)}"


def problems(**meanings: str) -> Responses:
    """Each status (`s404=`) with its meaning, as a problem body."""
    return {
        name.removeprefix("s"): {"description": meaning, "content": {MEDIA_TYPE: {"schema": schema_of(Problem)}}}
        for name, meaning in meanings.items()
    }


NOT_READ = problems(
    s400="The body is damaged.",
    s413="The body is too large.",
    s415="The body is of a kind that is not taken here.",
)
NOT_ANSWERED = NOT_READ | problems(
    s422="The body is not what this address takes.",
    s429="Too much is waiting; ask again after Retry-After seconds.",
    s500="The model failed.",
    s503="No model has been promoted yet, or it cannot answer in time; ask again after Retry-After seconds.",
)
NOT_TAKEN = NOT_READ | problems(
    s404="This replica remembers no such prediction.",
    s422="The label is not one of the stream's.",
    s503="Kafka did not acknowledge it; report again after Retry-After seconds.",
)
OTHER_MODEL = problems(s404="Another model, or another version, serves.")
