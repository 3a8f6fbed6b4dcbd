"""The API against its own document: whatever is asked, the answer is one that the document foresees."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.server.live import ADMIN_KEY, VERSION, Live, live

CHECKS: list[Callable[..., object]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 25  # of each operation and mode
SERVED = {"name": "sentiment", "version": VERSION}


@schemathesis.serializer("application/x-ndjson")
def lines(context: object, value: object) -> bytes:
    return str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(admin_keys=[ADMIN_KEY]) as running:
        yield running


def operations_of(server: Live) -> list[Any]:
    return [found.ok() for found in schemathesis.openapi.from_url(f"{server.url}/openapi.json").get_all_operations()]


def statuses(server: Live, operation: Any, mode: GenerationMode) -> set[int]:
    """The statuses of the answers to generated requests, each checked against the document."""
    seen = set()

    @seed(0)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def conforms(case: schemathesis.Case, known: bool) -> None:
        if known:
            case.path_parameters.update({name: SERVED[name] for name in case.path_parameters})
        seen.add(
            case.call_and_validate(base_url=server.url, checks=CHECKS, headers={"X-API-Key": ADMIN_KEY}).status_code
        )

    conforms()
    return seen


def test_requests_that_the_document_allows_get_answers_that_it_foresees(server: Live) -> None:
    for operation in operations_of(server):
        seen = statuses(server, operation, GenerationMode.POSITIVE)
        if not operation.path.endswith(("/infer", "/feedback")):  # a tensor's shape and a prediction's id are luck
            assert seen & {200, 202}, operation.label


def test_requests_that_the_document_does_not_allow_are_refused_as_it_foresees(server: Live) -> None:
    taking = [operation for operation in operations_of(server) if operation.body]
    assert len(taking) == 6
    for operation in taking:
        assert 422 in statuses(server, operation, GenerationMode.NEGATIVE), operation.label
