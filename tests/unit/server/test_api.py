"""The HTTP API over a model that answers at once: shapes, limits, and every error as a problem body."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.server.api.application import Parts, build_api
from services.server.card import Card
from services.server.engine import Engine
from services.server.feedback import UnknownLabelError, UnknownPredictionError
from services.server.slots import Slot, Slots
from services.server.status import Status
from shared.errors import BrokerUnavailableError
from shared.events import ServerPhase, SplitRecord
from shared.health import Health
from shared.lineage import Lineage
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.settings import Settings, load_settings
from tests.unit.server.fakes import FakeModel, card

PROBLEM = "application/problem+json"
LINEAGE = Lineage(
    window_ids=("w-0000000000",),
    offset_ranges=((0, 999),),
    snapshot_sha256s=("a" * 64,),
    base="tiny",
    base_digest="b",
    seed=17,
    labels=("negative", "positive"),
    normaliser_version="1",
    split=SplitRecord(salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1"),
    model_digest="c" * 64,
    temperature=1.5,
    code_version="0.1.0",
    plan_sha256="d" * 64,
    newest_published_at=datetime(2026, 1, 2, tzinfo=UTC),
)


class FakeFeedback:
    """Knows the prediction "known"; `gone`: Kafka does not answer."""

    def __init__(self) -> None:
        self.gone = False

    def report(self, prediction_id: str, label: str) -> str:
        if label not in ("negative", "positive"):
            raise UnknownLabelError(f"label {label!r} is not known")
        if prediction_id != "known":
            raise UnknownPredictionError(f"prediction {prediction_id!r} is not remembered")
        if self.gone:
            raise BrokerUnavailableError("Kafka has not answered")
        return label


class Api:
    """The application on a model of the test's choice."""

    def __init__(self, client: httpx.AsyncClient, slots: Slots, status: Status, feedback: FakeFeedback) -> None:
        self.client, self.slots, self.status, self.feedback = client, slots, status, feedback
        self.metrics = CollectorRegistry()

    def serve(self, model: FakeModel | None = None, served: Card | None = None) -> None:
        slot = Slot(served or card("7"), model or FakeModel())
        self.slots.switch(slot)
        self.status.serves(slot.card)
        self.status.enter(ServerPhase.SERVING)

    async def predict(self, **body: Any) -> httpx.Response:
        return await self.client.post("/v1/predict", json=body)

    def requests(self, outcome: str) -> float | None:
        return self.metrics.get_sample_value("tidemill_requests_total", {"outcome": outcome})


@asynccontextmanager
async def api_of(settings: Settings) -> AsyncIterator[Api]:
    registry = CollectorRegistry()
    metrics, slots, feedback = ServerMetrics(registry), Slots(), FakeFeedback()
    health = Health(ServiceMetrics(registry))
    status = Status("replica", None, metrics, health, lambda state: None)
    engine = Engine(settings, slots, metrics)
    app = build_api(Parts(settings, engine, feedback, status, health, metrics, registry))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    batcher = asyncio.create_task(engine.batcher.run())
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        api = Api(client, slots, status, feedback)
        api.metrics = registry
        yield api
    batcher.cancel()


def run(story: Callable[[Api], Coroutine[Any, Any, None]], **server: Any) -> None:
    """Tells a story to an API whose `server` settings are these."""

    async def told() -> None:
        async with asyncio.timeout(30), api_of(load_settings(server=server)) as api:
            await story(api)

    asyncio.run(told())


def assert_problem(response: httpx.Response, status: int, says: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    body = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert says in response.text


def test_one_text_gets_label_calibrated_scores_and_the_version_that_answered() -> None:
    async def story(api: Api) -> None:
        api.serve(FakeModel(certainty=0.75))
        body = (await api.predict(text="A wonderful film.")).json()
        assert body["model"] == {"name": "sentiment", "version": "7"}
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
    ("content", "status"),
    [
        (b"not json", 422),
        (b"\x80abc", 400),
        (b'{"text": "\\ud800"}', 422),
        (b'{"text": NaN}', 422),
        (b"[" * 100_000, 400),
        (b"", 422),
    ],
)
def test_bytes_that_are_no_request_are_refused(content: bytes, status: int) -> None:
    async def story(api: Api) -> None:
        api.serve()
        headers = {"Content-Type": "application/json"}
        assert_problem(await api.client.post("/v1/predict", content=content, headers=headers), status)

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


def test_a_body_without_a_declared_length_is_refused_once_it_exceeds_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 400
            yield b" " * 400

    async def story(api: Api) -> None:
        headers = {"Content-Type": "application/json"}
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
        response = await api.predict(texts=["b", "c", "d"])
        assert_problem(response, 429)
        assert response.headers["retry-after"] == "1"
        gate.set()
        assert (await first).status_code == 200
        assert api.requests("overloaded") == 1

    run(story, queue_texts=2)


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


def test_feedback_is_taken_once_kafka_has_it() -> None:
    async def story(api: Api) -> None:
        body = {"prediction_id": "known", "label": "negative"}
        response = await api.client.post("/v1/feedback", json=body)
        assert (response.status_code, response.json()) == (202, body)

    run(story)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prediction_id": "other", "label": "negative"}, 404),
        ({"prediction_id": "known", "label": "so-so"}, 422),
        ({"prediction_id": "known"}, 422),
        ({"prediction_id": "known", "label": "negative", "text": "x"}, 422),
    ],
)
def test_wrong_feedback_is_refused(body: dict[str, str], status: int) -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.post("/v1/feedback", json=body), status)

    run(story)


def test_feedback_is_not_promised_while_kafka_is_gone() -> None:
    async def story(api: Api) -> None:
        api.feedback.gone = True
        response = await api.client.post("/v1/feedback", json={"prediction_id": "known", "label": "negative"})
        assert_problem(response, 503)
        assert response.headers["retry-after"] == "5"

    run(story)


def test_the_model_page_tells_lineage_in_short() -> None:
    async def story(api: Api) -> None:
        promoted = datetime(2026, 1, 3, tzinfo=UTC)
        api.serve(served=card("7", tags=LINEAGE.to_tags(), promoted_at=promoted))
        body = (await api.client.get("/v1/model")).json()
        assert (body["name"], body["version"], body["phase"]) == ("sentiment", "7", "serving")
        assert body["labels"] == ["negative", "positive"]
        assert body["promoted_at"] == "2026-01-03T00:00:00Z"
        assert body["lineage"]["window_ids"] == ["w-0000000000"]
        assert body["lineage"]["offset_ranges"] == [[0, 999]]
        assert body["lineage"]["parent_version"] is None

    run(story)


def test_a_model_without_lineage_tags_still_has_a_page() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.client.get("/v1/model")).json()["lineage"] is None

    run(story)


def test_it_is_ready_while_a_model_serves_and_says_what_else_is_gone() -> None:
    async def story(api: Api) -> None:
        api.serve()
        api.status.reaches(kafka_trouble="no answer", registry_trouble=None)
        ready = await api.client.get("/readyz")
        assert ready.status_code == 200
        assert (ready.json()["kafka"], ready.json()["registry"]) == ("no answer", "reachable")

    run(story)


def test_the_documents_need_no_network() -> None:
    async def story(api: Api) -> None:
        page = (await api.client.get("/docs")).text
        document = (await api.client.get("/openapi.json")).json()
        assert "/v1/predict" in page
        assert "openapi.json" in page
        assert [foreign for foreign in ("http://", "https://", "<script") if foreign in page] == []
        assert PROBLEM in document["paths"]["/v1/predict"]["post"]["responses"]["429"]["content"]

    run(story)


def test_metrics_are_on_the_same_port() -> None:
    async def story(api: Api) -> None:
        api.serve()
        await api.predict(texts=["a", "b"])
        text = (await api.client.get("/metrics")).text
        assert 'tidemill_predictions_total{version="7"} 2.0' in text
        assert "tidemill_served_version 7.0" in text
        assert 'tidemill_server_phase_info{phase="serving"} 1.0' in text

    run(story)
