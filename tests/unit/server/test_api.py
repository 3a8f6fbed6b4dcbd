"""The HTTP API over a model that answers at once: shapes and limits, every error as a problem body."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.server.api_client import Api, assert_problem, run
from tests.unit.server.fakes import FakeModel


def test_one_text_gets_label_calibrated_scores_and_the_version_that_answered() -> None:
    async def story(api: Api) -> None:
        api.serve(FakeModel(certainty=0.75))
        body = (await api.predict(text="A wonderful film.")).json()
        assert body["model"] == {"name": "sentiment", "version": "7", "plan": "fake-plan"}
        (answer,) = body["predictions"]
        assert (answer["label"], answer["score"], answer["truncated"]) == ("positive", 0.75, False)
        assert answer["scores"] == {"negative": 0.25, "positive": 0.75}
        assert len(answer["prediction_id"]) == 32
        assert api.requests("ok") == 1

    run(story)


def test_several_texts_are_answered_in_order_under_different_names() -> None:
    async def story(api: Api) -> None:
        model = FakeModel()
        api.serve(model)
        body = (await api.predict(texts=["one", "two", "one"])).json()
        assert len({answer["prediction_id"] for answer in body["predictions"]}) == 3
        assert model.calls == [["one", "two", "one"]]

    run(story)


def test_texts_are_cleaned_and_masked_as_the_model_learned_them() -> None:
    async def story(api: Api) -> None:
        model = FakeModel()
        api.serve(model)
        await api.predict(text="<b>Write to</b>  me@example.org")
        assert model.calls == [["Write to [EMAIL]"]]

    run(story)


def test_before_the_first_promotion_clients_are_told_when_to_come_back() -> None:
    async def story(api: Api) -> None:
        for response in (await api.predict(text="x"), await api.client.get("/v1/model")):
            assert_problem(response, 503, "no model has been promoted yet")
            assert response.headers["retry-after"] == "9"
        ready = await api.client.get("/readyz")
        assert (ready.status_code, ready.json()["ok"], ready.json()["phase"]) == (503, False, "waiting")
        assert (await api.client.get("/healthz")).status_code == 200
        assert api.requests("no_model") == 1

    run(story, retry_after_seconds=9)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "a", "texts": ["b"]},
        {"texts": []},
        {"text": ""},
        {"text": " \n\t"},
        {"texts": ["a", ""]},
        {"text": 5},
        {"texts": "abc"},
        {"text": None},
        {"text": "a", "temperature": 2},
        [],
        "a",
    ],
)
def test_a_body_of_another_shape_is_refused_with_the_fields_named(body: Any) -> None:
    async def story(api: Api) -> None:
        api.serve()
        response = await api.client.post("/v1/predict", json=body)
        assert_problem(response, 422)
        assert response.json()["errors"]
        assert api.requests("invalid") == 1

    run(story)


@pytest.mark.parametrize(
    "content", [b"not json", b"\x80abc", b'{"text": "\\ud800"}', b'{"text": NaN}', b"[" * 100_000, b""]
)
def test_bytes_that_are_no_request_are_refused(content: bytes) -> None:
    async def story(api: Api) -> None:
        api.serve()
        headers = {"Content-Type": "application/json"}
        assert_problem(await api.client.post("/v1/predict", content=content, headers=headers), 422)

    run(story)


def test_what_was_sent_is_not_repeated_in_an_error() -> None:
    async def story(api: Api) -> None:
        response = await api.predict(text="fine", secret="4111 1111 1111 1111")
        assert "4111" not in response.text

    run(story)


def test_another_media_type_is_refused_with_the_right_one_named() -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.post("/v1/predict", data={"text": "a"}), 415, "application/json")

    run(story)


def test_a_body_with_a_declared_length_above_the_limit_is_refused() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert_problem(await api.predict(text="x" * 2000), 413, "1000 bytes")
        assert api.requests("invalid") == 1

    run(story, max_body_bytes=1000)


@pytest.mark.parametrize("declared", [{}, {"Content-Length": "9" * 5000}], ids=["none", "of 5000 digits"])
def test_a_body_without_a_sane_declared_length_is_refused_once_it_exceeds_the_limit(declared: dict[str, str]) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 400
            yield b" " * 400

    async def story(api: Api) -> None:
        headers = {"Content-Type": "application/json"} | declared
        assert_problem(await api.client.post("/v1/predict", content=endless(), headers=headers), 413)
        assert read <= 2000

    run(story, max_body_bytes=1000)


def test_too_many_and_too_long_texts_are_refused() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert_problem(await api.predict(texts=["a"] * 4), 422, "3 may be")
        assert_problem(await api.predict(text="x" * 11), 422, "10 may be")
        assert (await api.predict(texts=["x" * 10] * 3)).status_code == 200

    run(story, max_texts=3, max_text_chars=10)


def test_unknown_addresses_and_methods_are_problems_too() -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.get("/v2/predict"), 404)
        response = await api.client.get("/v1/predict")
        assert_problem(response, 405)
        assert response.headers["allow"] == "POST"

    run(story)
