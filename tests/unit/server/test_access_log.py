"""The line of a request: what it tells, how many there are, and that no text is in any."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import httpx
import pytest
import structlog
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from structlog.typing import EventDict

from services.server.api.access_log import REFUSALS_A_SECOND, AccessLog, Allowance, is_failure
from tests.unit.server.api_client import Api, run
from tests.unit.server.fakes import FakeModel


def lines(story: Callable[[Api], Coroutine[Any, Any, None]], share: float, **server: Any) -> list[EventDict]:
    with capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        run(story, access_log_share=share, **server)
    return [entry for entry in logs if entry["event"] == "request"]


def test_a_line_tells_who_was_asked_and_how_it_ended_but_no_text() -> None:
    async def story(api: Api) -> None:
        api.serve()
        await api.client.post("/v1/predict?key=hidden", json={"texts": ["a wonderful film", "dull"]})

    (line,) = lines(story, share=1.0)
    assert line["log_level"] == "info"
    told = {name: line[name] for name in ("client", "method", "path", "status", "texts", "version")}
    assert told == {
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/v1/predict",
        "status": 200,
        "texts": 2,
        "version": "7",
    }
    assert line["seconds"] >= 0
    assert len(line["request_id"]) == 32
    for secret in ("wonderful", "hidden"):
        assert secret not in repr(line)


def test_a_refusal_tells_its_outcome() -> None:
    async def story(api: Api) -> None:
        await api.predict(text="a")

    (line,) = lines(story, share=1.0)
    assert (line["status"], line["outcome"]) == (503, "no_model")


def test_an_address_that_no_route_knows_is_cut() -> None:
    async def story(api: Api) -> None:
        await api.client.get("/" + "x" * 5000)

    (line,) = lines(story, share=1.0)
    assert len(line["path"]) == 200


def test_a_share_of_none_logs_only_what_failed() -> None:
    def fail(texts: Sequence[str]) -> None:
        raise RuntimeError("inside")

    async def story(api: Api) -> None:
        for _ in range(20):
            await api.client.get("/healthz")
            await api.predict(text="a")
        api.serve(FakeModel(before=fail))
        await api.predict(text="a")

    (line,) = lines(story, share=0.0)
    assert (line["status"], line["log_level"]) == (500, "error")


def test_who_comes_without_a_right_key_is_told_whatever_the_share_up_to_a_rate() -> None:
    async def story(api: Api) -> None:
        for key in ("nobody", "no-admin-no-admin-no-admin"):
            await api.client.post("/v1/admin/check", headers={"X-API-Key": key})

    found = lines(story, share=0.0, api_keys=("no-admin-no-admin-no-admin",), admin_keys=("admin-key-admin-key",))
    assert [(line["status"], line["client"]) for line in found] == [(401, "127.0.0.1"), (403, "127.0.0.1")]


def test_an_allowance_is_for_each_second_anew() -> None:
    allowance = Allowance(REFUSALS_A_SECOND)
    for second in (7.0, 8.5, 20.0):
        allowed = [allowance.take(second + each / 1000) for each in range(100)]
        assert allowed == [True] * REFUSALS_A_SECOND + [False] * (100 - REFUSALS_A_SECOND)


def test_an_answer_that_breaks_off_after_its_first_byte_is_told_whatever_the_share() -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the midst")

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(AccessLog(breaks_off, 0.0))) as client:
            await client.post("http://server/v1/predict")

    with capture_logs() as logs, pytest.raises(RuntimeError):
        asyncio.run(ask())
    (line,) = logs
    assert (line["log_level"], line["status"]) == ("error", 200)
    assert "in the midst" in line["error"]


def test_a_share_is_a_share() -> None:
    async def story(api: Api) -> None:
        for _ in range(1000):
            await api.client.get("/healthz")

    assert 350 < len(lines(story, share=0.5)) < 650  # 9 standard deviations


@pytest.mark.parametrize(("status", "failed"), [(200, False), (429, False), (503, False), (500, True), (504, True)])
def test_shedding_load_is_no_failure(status: int, failed: bool) -> None:
    assert is_failure(status) == failed
