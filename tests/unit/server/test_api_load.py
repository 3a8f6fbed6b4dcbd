"""What clients see of a model that fails, hangs, is replaced, or has too much to do."""

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import httpx

from tests.unit.server.api_client import Api, assert_problem, run
from tests.unit.server.fakes import FakeModel, card


def test_a_model_that_fails_is_an_error_of_the_server_without_its_inside() -> None:
    def fail(texts: Sequence[str]) -> None:
        raise RuntimeError("secret inside")

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=fail))
        response = await api.predict(text="a")
        assert_problem(response, 500)
        assert "secret" not in response.text
        assert api.requests("failed") == 1

    run(story)


def test_a_model_that_answers_no_number_answers_nobody() -> None:
    async def story(api: Api) -> None:
        api.serve(FakeModel(certainty=float("nan")))
        assert_problem(await api.predict(text="a"), 500)

    run(story)


def test_a_full_queue_is_429_and_the_others_are_answered() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(texts: Sequence[str]) -> None:
        entered.set()
        assert gate.wait(20)

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=hold))
        first = asyncio.create_task(api.predict(text="a"))
        await asyncio.to_thread(entered.wait, 20)
        waiting = asyncio.create_task(api.predict(texts=["b"]))
        while api.metrics.get_sample_value("tidemill_queue_texts") != 1:
            await asyncio.sleep(0)
        response = await api.predict(texts=["c", "d"])
        assert_problem(response, 429)
        assert response.headers["retry-after"] == "1"
        gate.set()
        assert (await first).status_code == (await waiting).status_code == 200
        assert api.requests("overloaded") == 1

    run(story, queue_tokens=6)


def test_a_refusal_does_not_read_the_body() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(texts: Sequence[str]) -> None:
        entered.set()
        assert gate.wait(20)

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=hold))
        first = asyncio.create_task(api.predict(text="a"))
        await asyncio.to_thread(entered.wait, 20)
        waiting = asyncio.create_task(api.predict(text="b" * 20))
        while api.metrics.get_sample_value("tidemill_queue_texts") != 1:
            await asyncio.sleep(0)
        response = await api.client.post(
            "/v1/predict", content=b"no JSON", headers={"content-type": "application/json"}
        )
        assert_problem(response, 429)
        gate.set()
        assert (await first).status_code == (await waiting).status_code == 200
        assert api.requests("overloaded") == 1

    run(story, queue_tokens=6)


def test_a_request_that_waits_too_long_is_503() -> None:
    gate = threading.Event()

    def hold(texts: Sequence[str]) -> None:
        assert gate.wait(20)

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=hold))
        response = await api.predict(text="a")
        gate.set()
        assert_problem(response, 503, "not answered within")
        assert "retry-after" in response.headers
        assert api.requests("timeout") == 1

    run(story, request_timeout_seconds=0.05)


def test_requests_under_way_are_answered_by_their_model_while_another_takes_over() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(texts: Sequence[str]) -> None:
        entered.set()
        assert gate.wait(20)

    async def story(api: Api) -> None:
        api.serve(FakeModel(certainty=0.9, before=hold), card("1"))
        old = asyncio.create_task(api.predict(texts=["a", "b"]))
        await asyncio.to_thread(entered.wait, 20)
        api.serve(FakeModel(certainty=0.2), card("2"))
        new = asyncio.create_task(api.predict(text="c"))
        gate.set()
        answers = [(await task).json() for task in (old, new)]
        assert [answer["model"]["version"] for answer in answers] == ["1", "2"]
        assert [answer["predictions"][0]["label"] for answer in answers] == ["positive", "negative"]

    run(story)


def test_a_client_that_hangs_up_is_not_computed_for() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(texts: Sequence[str]) -> None:
        entered.set()
        assert gate.wait(20)

    async def story(api: Api) -> None:
        model = FakeModel(before=hold)
        api.serve(model)
        first = asyncio.create_task(api.predict(text="a"))
        await asyncio.to_thread(entered.wait, 20)
        status = await hang_up(api, {"text": "gone"})
        gate.set()
        await first
        assert status == 499
        assert ["gone"] not in model.calls
        assert api.requests("abandoned") == 1

    run(story)


async def hang_up(api: Api, body: dict[str, str]) -> int:
    """Sends a request and disconnects at once; returns the status that nobody read."""
    transport = api.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    messages = [
        {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "raw_path": b"/v1/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("server", 80),
        "client": ("127.0.0.1", 1),
    }
    await transport.app(scope, receive, send)
    return int(sent[0]["status"])
