"""NDJSON streams: answers as they come, bad lines among good ones, bounded work, swaps, overload and hang-ups."""

import asyncio
import gzip
import hashlib
import json
import threading
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from services.server.api.bulk import LOOK_BYTES, Chunk, _lines
from services.server.api.compression import PIECE_BYTES
from services.server.api.lines import Line, LineSplitter
from services.server.slots import Challenger
from services.server.stickiness import is_in_share
from services.server.tally import Tally
from shared.canary import Canary
from shared.events import ServingRole
from tests.unit.server.api_client import Api, run
from tests.unit.server.exchange import Exchange
from tests.unit.server.fakes import FakeModel, card, slot

NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def texts(*said: str) -> bytes:
    return lines(*({"text": text} for text in said))


def exchange(api: Api, headers: dict[str, str] | None = None, *, reads: bool = True) -> Exchange:
    transport = api.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    return Exchange(transport.app, "/v1/predict", NDJSON | (headers or {}), reads=reads)


class Gate:
    """Holds a model at each call until opened."""

    def __init__(self) -> None:
        self._open, self.entered = threading.Event(), threading.Event()

    def hold(self, said: Sequence[str]) -> None:
        self.entered.set()
        assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 20)


async def answered(api: Api, content: bytes, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    response = await api.client.post("/v1/predict", content=content, headers=NDJSON | (headers or {}))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == NDJSON["Content-Type"]
    return [json.loads(line) for line in response.text.splitlines()]


def test_each_line_is_answered_in_order_under_its_number_and_id() -> None:
    async def story(api: Api) -> None:
        api.serve()
        first, second = await answered(api, lines({"text": "one", "id": "a"}, {"text": "two"}))
        assert (first["line"], first["id"], first["label"], first["score"]) == (1, "a", "positive", 0.75)
        assert first["model"] == {"name": "sentiment", "version": "7", "plan": "fake-plan"}
        assert (second["line"], "id" in second) == (2, False)
        assert first["prediction_id"] != second["prediction_id"]
        assert api.requests("ok", "ndjson") == 2

    run(story)


def test_an_answer_comes_while_the_client_is_still_sending() -> None:
    async def story(api: Api) -> None:
        api.serve()
        talk = exchange(api)
        assert await talk.status() == 200
        for number, text in enumerate(["one", "two"], start=1):
            talk.say(texts(text))
            assert (await talk.line())["line"] == number
        talk.say(b"", last=True)
        assert await talk.rest() == []
        await talk.ended

    run(story)


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"no json\n", 422),
        (b'{"text": " "}\n', 422),
        (b'{"text": "a", "more": 1}\n', 422),
        (b'{"text": "\xff"}\n', 422),
        (b'{"text": "' + b"x" * 11 + b'"}\n', 422),
        (b'{"text": "' + b"x" * 300 + b'"}\n', 413),
        (b"x" * 5000 + b"\n", 413),
    ],
)
def test_a_bad_line_gets_a_problem_with_its_number_and_the_others_go_on(bad: bytes, status: int) -> None:
    async def story(api: Api) -> None:
        api.serve()
        first, refused, last = await answered(api, texts("one") + bad + texts("two"))
        assert (first["line"], last["line"]) == (1, 3)
        assert (refused["line"], refused["status"]) == (2, status)
        assert refused["title"] == HTTPStatus(status).phrase
        assert refused["error"]
        assert api.requests("invalid", "ndjson") == 1

    run(story, max_body_bytes=200, max_text_chars=10)


def test_empty_lines_are_counted_but_not_answered_and_the_last_needs_no_end() -> None:
    async def story(api: Api) -> None:
        api.serve()
        said = await answered(api, b"\n" + texts("one") + b" \r\n" + texts("two").rstrip())
        assert [line["line"] for line in said] == [2, 4]
        assert await answered(api, b"") == []

    run(story)


def test_the_bound_on_a_body_does_not_bound_a_stream() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert len(await answered(api, texts(*["film"] * 100))) == 100

    run(story, max_body_bytes=100)


def test_a_line_that_the_model_fails_on_is_an_error_of_the_server_for_that_line_only() -> None:
    def fail(said: Sequence[str]) -> None:
        if "bad" in said:
            raise RuntimeError("secret inside")

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=fail))
        said = await answered(api, texts("good", "bad", "good"))
        assert [line.get("status") for line in said] == [None, 500, None]
        assert "secret" not in str(said)
        assert api.requests("failed", "ndjson") == 1

    run(story)


def test_before_the_first_promotion_each_line_is_told_so() -> None:
    async def story(api: Api) -> None:
        said = await answered(api, texts("one", "two"))
        assert [line["status"] for line in said] == [503, 503]
        assert api.requests("no_model", "ndjson") == 2

    run(story)


def test_no_more_lines_are_in_work_than_set_and_a_client_that_reads_nothing_is_not_read() -> None:
    async def story(api: Api) -> None:
        model = FakeModel()
        api.serve(model)
        talk = exchange(api, reads=False)
        for number in range(50):
            talk.say(texts(f"film {number}"))
        await settled()
        assert sum(len(call) for call in model.calls) <= 3
        assert talk.taken <= 3 + 3  # in work, one waiting for room, one in the queue, one in hand
        talk.read.set()
        talk.say(b"", last=True)
        assert await talk.status() == 200
        assert [line["line"] for line in await talk.rest()] == list(range(1, 51))

    run(story, bulk_lines=3)


async def settled() -> None:
    """Lets everything happen that waits for nothing but the loop and the model's thread."""
    for _ in range(200):
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)


def test_a_full_queue_makes_lines_wait_instead_of_failing() -> None:
    gate = Gate()

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=gate.hold))
        busy = asyncio.create_task(api.predict(text="first"))
        await gate.reached()
        waiting = asyncio.create_task(api.predict(text="fills the queue"))
        talk = exchange(api)
        talk.say(texts("one", "two", "three"), last=True)
        await settled()
        assert (await api.predict(text="refused")).status_code == 429
        gate.open()
        assert await talk.status() == 200
        assert ["label" in line for line in await talk.rest()] == [True] * 3
        assert [(await task).status_code for task in (busy, waiting)] == [200, 200]
        assert api.requests("overloaded", "ndjson") == 0

    run(story, queue_tokens=8)


def test_a_line_that_finds_no_room_while_its_patience_lasts_is_told_so() -> None:
    gate = Gate()

    async def story(api: Api) -> None:
        api.serve(FakeModel(before=gate.hold))
        busy = asyncio.create_task(api.predict(text="first"))
        await gate.reached()
        waiting = asyncio.create_task(api.predict(text="fills the queue"))
        await settled()
        talk = exchange(api, {"X-Request-Timeout": "0.05"})
        talk.say(texts("one"), last=True)
        assert await talk.status() == 200
        (line,) = await talk.rest()
        assert (line["status"], line["detail"]) == (503, "not answered within 0.05 s")
        gate.open()
        assert [(await task).status_code for task in (busy, waiting)] == [200, 200]
        assert api.requests("timeout", "ndjson") == 1

    run(story, queue_tokens=8)


def test_a_request_is_let_in_and_answered_before_the_stream_that_came_first() -> None:
    gate = Gate()

    async def story(api: Api) -> None:
        model = FakeModel(before=gate.hold)
        api.serve(model)
        busy = asyncio.create_task(api.predict(text="first"))
        await gate.reached()
        talk = exchange(api)
        talk.say(texts(*(f"line {number}" for number in range(50))), last=True)
        await settled()
        alone = asyncio.create_task(api.predict(text="alone"))
        await settled()
        gate.open()
        assert (await alone).status_code == 200
        assert await talk.status() == 200
        assert ["label" in line for line in await talk.rest()] == [True] * 50
        order = [text for call in model.calls for text in call]
        assert order.index("alone") <= 3  # behind the line whose turn it was
        await busy

    run(story, queue_tokens=100)


def test_after_a_swap_the_lines_that_follow_name_the_new_version() -> None:
    async def story(api: Api) -> None:
        api.serve(FakeModel(certainty=0.9), card("1"))
        talk = exchange(api)
        await talk.status()
        talk.say(texts("one"))
        before = await talk.line()
        api.serve(FakeModel(certainty=0.2), card("2"))
        talk.say(texts("two"), last=True)
        (after,) = await talk.rest()
        assert (before["model"]["version"], before["label"]) == ("1", "positive")
        assert (after["model"]["version"], after["label"]) == ("2", "negative")

    run(story)


def test_a_caller_stays_on_its_side_of_a_canary() -> None:
    async def story(api: Api) -> None:
        api.serve()
        api.slots.place_beside(Challenger(Canary("8", ServingRole.CANARY, 0.5), slot("8"), Tally()))  # type: ignore[arg-type]
        for caller in (f"caller-{number}" for number in range(20)):
            said = await answered(api, texts("one", "two"), {"X-Canary-Key": caller})
            assert {line["model"]["version"] for line in said} == {"8" if is_in_share("8", caller, 0.5) else "7"}

    run(story)


def test_lines_of_a_client_that_hung_up_are_not_computed() -> None:
    gate = Gate()

    async def story(api: Api) -> None:
        model = FakeModel(before=gate.hold)
        api.serve(model)
        busy = asyncio.create_task(api.predict(text="first"))
        await gate.reached()
        talk = exchange(api)
        talk.say(texts("one", "two", "three", "four"), last=True)
        await talk.status()
        talk.hang_up()
        await talk.ended
        gate.open()
        await busy
        assert model.calls == [["first"]]
        assert api.requests("abandoned", "ndjson") == 1

    run(story, bulk_lines=2)


def test_a_stream_may_be_compressed_and_a_damaged_one_ends_with_a_problem() -> None:
    async def story(api: Api) -> None:
        api.serve()
        packed, coded = gzip.compress(texts("one", "two")), {"Content-Encoding": "gzip"}
        assert [line["line"] for line in await answered(api, packed, coded)] == [1, 2]
        *whole, broken = await answered(api, packed[:-9], coded)
        assert all("label" in line for line in whole)
        assert (broken["line"], broken["status"]) == (len(whole) + 1, 400)

    run(story)


def test_others_are_served_while_a_chunk_of_empty_lines_is_looked_through() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def story() -> None:
        chunks: asyncio.Queue[Chunk] = asyncio.Queue()
        for chunk in (b"\n" * PIECE_BYTES, b"\r\n" * (PIECE_BYTES // 2), b"last", None):
            chunks.put_nowait(chunk)
        beside = asyncio.create_task(others())
        found = [line async for line in _lines(chunks, LineSplitter(1000))]
        beside.cancel()
        assert found == [Line(PIECE_BYTES + PIECE_BYTES // 2 + 1, b"last")]
        assert turns >= 2 * PIECE_BYTES // LOOK_BYTES

    asyncio.run(story())


def test_a_compressed_stream_that_stands_for_too_much_ends_with_a_problem() -> None:
    async def story(api: Api) -> None:
        api.serve()
        coded = {"Content-Encoding": "gzip"}
        varied = texts(*(hashlib.sha256(bytes([number])).hexdigest() for number in range(100)))
        for sound in (texts("one") + b"\n" * 900, varied):
            said = await answered(api, gzip.compress(sound), coded)
            assert all("label" in line for line in said)
        *_, broken = await answered(api, gzip.compress(b"\n" * 5_000_000), coded)
        assert broken["status"] == 413
        assert "10 times" in broken["detail"]
        assert len(await answered(api, texts("one") + b"\n" * 50_000)) == 1

    run(story, max_body_bytes=1000, bulk_inflation=10)


def test_a_patience_that_is_no_number_refuses_the_stream_as_a_whole() -> None:
    async def story(api: Api) -> None:
        api.serve()
        headers = NDJSON | {"X-Request-Timeout": "soon"}
        response = await api.client.post("/v1/predict", content=texts("one"), headers=headers)
        assert response.status_code == 422
        assert api.requests("invalid", "ndjson") == 1

    run(story)
