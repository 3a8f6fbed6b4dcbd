"""Rows in MLflow's shapes, and which column is the text."""

from typing import Any

import pytest

from tests.unit.server.api_client import Api, assert_problem, run
from tests.unit.server.fakes import FakeModel

SHAPES = [
    {"dataframe_split": {"columns": ["text"], "index": [0, 1], "data": [["one"], ["two"]]}},
    {"dataframe_split": {"columns": ["id", "text"], "data": [[1, "one"], [None, "two"]]}},
    {"dataframe_split": {"columns": [0], "data": [["one"], ["two"]]}},
    {"dataframe_split": {"data": [["one"], ["two"]]}},
    {"dataframe_records": [{"text": "one"}, {"text": "two"}]},
    {"dataframe_records": [{"review": "one"}, {"review": "two"}]},
    {"instances": ["one", "two"]},
    {"instances": [["one"], ["two"]]},
    {"instances": [{"text": "one", "lang": "en"}, {"text": "two", "lang": "en"}]},
    {"inputs": ["one", "two"]},
    {"inputs": {"text": ["one", "two"]}},
    {"inputs": ["one", "two"], "params": {"top_k": 1, "truncation": True, "padding": True, "batch_size": 8}},
]


@pytest.mark.parametrize("body", SHAPES)
def test_every_shape_of_rows_is_read(body: dict[str, Any]) -> None:
    async def story(api: Api) -> None:
        model = FakeModel()
        api.serve(model)
        said = (await api.client.post("/invocations", json=body)).json()
        assert model.calls == [["one", "two"]]
        assert said["predictions"] == [{"label": "positive", "score": 0.75}] * 2
        assert len(set(said["prediction_ids"])) == 2
        assert said["model"]["version"] == "7"
        assert api.requests("ok", "mlflow") == 1

    run(story)


@pytest.mark.parametrize("body", [{"inputs": "one"}, {"inputs": {"text": "one"}}, {"instances": "one"}])
def test_one_text_needs_no_list(body: dict[str, Any]) -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert len((await api.client.post("/invocations", json=body)).json()["predictions"]) == 1

    run(story)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": ["a"], "instances": ["a"]},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": {"first": ["a"], "second": ["b"]}},
        {"dataframe_split": {"columns": ["text", "id"], "data": [["a"]]}},
        {"dataframe_split": {"columns": ["text"], "data": [[5]]}},
        {"dataframe_split": {"columns": ["text"], "data": [[None]]}},
        {"dataframe_records": [{}]},
        {"inputs": ["a"], "params": {"top_k": 2}},
        {"inputs": ["a"], "params": {"truncation": False}},
        {"inputs": ["a"], "signature_name": "x"},
    ],
)
def test_rows_that_are_no_texts_are_refused(body: dict[str, Any]) -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert_problem(await api.client.post("/invocations", json=body), 422)
        assert api.requests("invalid", "mlflow") == 1

    run(story)


async def post_csv(api: Api, content: bytes, kind: str = "text/csv") -> Any:
    return await api.client.post("/invocations", content=content, headers={"Content-Type": kind})


def test_csv_has_a_header_and_may_quote_line_ends() -> None:
    async def story(api: Api) -> None:
        model = FakeModel()
        api.serve(model)
        response = await post_csv(api, b'id,text\r\n1,"one, and\nmore"\r\n\r\n2,two\r\n')
        assert len(response.json()["predictions"]) == 2
        assert model.calls == [["one, and more", "two"]]

    run(story)


@pytest.mark.parametrize("content", [b"", b"text\n", b"a,b\n1,2\n", b"text\na,b\n", b"text\n\xff\n", b'text\n"a\n'])
def test_csv_without_texts_is_refused(content: bytes) -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert_problem(await post_csv(api, content), 422)

    run(story)


def test_parquet_is_refused_with_what_is_taken() -> None:
    async def story(api: Api) -> None:
        assert_problem(await post_csv(api, b"PAR1", "application/vnd.apache.parquet"), 415, "text/csv")

    run(story)


def test_ping_says_whether_a_model_serves() -> None:
    async def story(api: Api) -> None:
        for path in ("/ping", "/health"):
            assert_problem(await api.client.get(path), 503, "no model")
        api.serve()
        for path in ("/ping", "/health"):
            assert (await api.client.get(path)).content == b"\n"

    run(story)
