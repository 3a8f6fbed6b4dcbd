"""The line of a request: what it tells, how many there are, and that no text is in any."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from services.server.api.access_log import is_failure
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
    told = {name: line[name] for name in ("method", "path", "status", "texts", "version")}
    assert told == {"method": "POST", "path": "/v1/predict", "status": 200, "texts": 2, "version": "7"}
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


def test_a_share_is_a_share() -> None:
    async def story(api: Api) -> None:
        for _ in range(1000):
            await api.client.get("/healthz")

    assert 350 < len(lines(story, share=0.5)) < 650  # 9 standard deviations


@pytest.mark.parametrize(("status", "failed"), [(200, False), (429, False), (503, False), (500, True), (504, True)])
def test_shedding_load_is_no_failure(status: int, failed: bool) -> None:
    assert is_failure(status) == failed
