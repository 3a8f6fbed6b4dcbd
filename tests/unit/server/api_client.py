"""The application over a model of the test's choice, asked without a network."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from services.server.api.application import build_api
from services.server.api.parts import Parts
from services.server.card import Card
from services.server.engine import Engine
from services.server.feedback import UnknownPredictionError
from services.server.slots import Slot, Slots
from services.server.status import Status
from shared.errors import BrokerUnavailableError
from shared.events import ServerPhase, SplitRecord
from shared.health import Health
from shared.labels import Label, UnknownLabelError
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

    def report(self, prediction_id: str, label: Label) -> str:
        if label not in ("negative", "positive"):
            raise UnknownLabelError(f"label {label!r} is not known")
        if prediction_id != "known":
            raise UnknownPredictionError(f"prediction {prediction_id!r} is not remembered")
        if self.gone:
            raise BrokerUnavailableError("Kafka has not answered")
        return str(label)


class Api:
    """The application on a model of the test's choice."""

    def __init__(self, client: httpx.AsyncClient, slots: Slots, status: Status, feedback: FakeFeedback) -> None:
        self.client, self.slots, self.status, self.feedback = client, slots, status, feedback
        self.metrics, self.look = CollectorRegistry(), threading.Event()

    def serve(self, model: FakeModel | None = None, served: Card | None = None) -> None:
        slot = Slot(served or card("7"), model or FakeModel())
        self.slots.switch(slot)
        self.status.serves(slot.card, slot.model.plan)
        self.status.enter(ServerPhase.SERVING)

    async def predict(self, **body: Any) -> httpx.Response:
        return await self.client.post("/v1/predict", json=body)

    def requests(self, outcome: str, protocol: str = "tidemill") -> float | None:
        labels = {"protocol": protocol, "outcome": outcome}
        return self.metrics.get_sample_value("tidemill_requests_total", labels)


@asynccontextmanager
async def api_of(settings: Settings) -> AsyncIterator[Api]:
    registry = CollectorRegistry()
    metrics, slots, feedback = ServerMetrics(registry), Slots(), FakeFeedback()
    health = Health(ServiceMetrics(registry))
    status = Status("replica", None, metrics, health, lambda state: None)
    engine = Engine(settings, slots, metrics)
    look = threading.Event()
    app = build_api(Parts(settings, engine, feedback, status, health, metrics, registry, look))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    batcher = asyncio.create_task(engine.batcher.run())
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        api = Api(client, slots, status, feedback)
        api.metrics, api.look = registry, look
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
    assert body["title"] == HTTPStatus(status).phrase  # RFC 9457, 4.2.1
    assert says in response.text
