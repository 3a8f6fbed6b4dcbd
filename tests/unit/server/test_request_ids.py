"""Every answer and every log line of a request carries its name."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio.to_thread
import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from services.server.api.request_ids import current_request_id, names_of
from tests.unit.server.api_client import Api, assert_problem, run
from tests.unit.server.fakes import FakeModel

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def logged(story: Callable[[Api], Coroutine[Any, Any, None]], **server: Any) -> list[EventDict]:
    with capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        run(story, access_log_share=1.0, **server)
    return logs


def names(**headers: str) -> dict[str, str]:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return names_of({"type": "http", "headers": sent})


def test_a_clients_id_is_taken_and_answered() -> None:
    async def story(api: Api) -> None:
        api.serve()
        response = await api.client.post("/v1/predict", json={"text": "a"}, headers={"X-Request-Id": "order-17/3"})
        assert response.headers.get_list("x-request-id") == ["order-17/3"]

    assert {entry["request_id"] for entry in logged(story) if entry["event"] == "request"} == {"order-17/3"}


@pytest.mark.parametrize("sent", ["", "a b", "a\nb", "x" * 129, "ü", '{"id": 1}', "<script>"])
def test_an_id_that_is_not_sane_is_replaced(sent: str) -> None:
    made = names(x_request_id=sent)["request_id"]
    assert made != sent
    assert len(made) == 32


def test_without_an_id_each_request_gets_its_own() -> None:
    async def story(api: Api) -> None:
        answers = [await api.client.get("/healthz") for _ in range(3)]
        assert len({answer.headers["x-request-id"] for answer in answers}) == 3

    run(story)


def test_the_trace_is_that_of_the_client() -> None:
    assert names(traceparent=TRACE)["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (
        names(traceparent=TRACE.replace("00-", "cc-", 1) + "-more")["trace_id"] == names(traceparent=TRACE)["trace_id"]
    )


@pytest.mark.parametrize(
    "sent",
    [
        "",
        TRACE.upper(),
        TRACE.replace("00-", "ff-", 1),
        TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        TRACE.replace("00f067aa0ba902b7", "0" * 16),
        TRACE[:-1],
        TRACE + "0",
    ],
)
def test_a_trace_that_is_none_is_ignored(sent: str) -> None:
    assert "trace_id" not in names(traceparent=sent)


def test_an_error_names_the_request_in_header_and_body() -> None:
    def fail(texts: Sequence[str]) -> None:
        raise RuntimeError("secret inside")

    async def story(api: Api) -> None:
        headers = {"X-Request-Id": "mine"}
        errors = [
            await api.client.get("/v1/nothing", headers=headers),
            await api.client.post("/v1/admin/check", headers=headers),
            await api.client.post("/v1/predict", content=b"x" * 2000, headers=headers),
            await api.client.post("/v1/predict", json={}, headers=headers),
            await api.client.post("/v1/predict", json={"text": "a"}, headers=headers),
        ]
        api.serve(FakeModel(before=fail))
        errors.append(await api.client.post("/v1/predict", json={"text": "a"}, headers=headers))
        for response, status in zip(errors, (404, 403, 413, 422, 503, 500), strict=True):
            assert_problem(response, status)
            assert response.headers["x-request-id"] == "mine"
            assert response.json()["request_id"] == "mine"

    logs = logged(story, max_body_bytes=1000)
    (failure,) = [entry for entry in logs if entry["event"] == "request_failed"]
    assert failure["request_id"] == "mine"
    assert failure["exc_info"]


def test_requests_under_way_at_once_keep_their_own_ids() -> None:
    async def story(api: Api) -> None:
        sent = [str(number) for number in range(20)]
        answers = await asyncio.gather(
            *(api.client.post("/v1/predict", json={"text": "a"}, headers={"X-Request-Id": each}) for each in sent)
        )
        assert [answer.json()["request_id"] for answer in answers] == sent

    run(story)


def test_after_a_request_its_name_is_gone() -> None:
    async def story(api: Api) -> None:
        await api.client.get("/healthz")
        assert current_request_id() is None

    run(story)


def test_an_error_is_answered_while_every_thread_waits_for_kafka() -> None:
    async def story(api: Api) -> None:
        threads = anyio.to_thread.current_default_thread_limiter()
        for _ in range(int(threads.total_tokens)):
            threads.acquire_on_behalf_of_nowait(object())
        assert_problem(await api.predict(text="a"), 503, "no model")

    run(story)
