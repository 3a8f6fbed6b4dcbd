"""The HTTP API on a port of its own, over a model of the test's choice, for clients that need a socket."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.server.api.application import build_api
from services.server.api.parts import Parts
from services.server.engine import Engine, Prediction
from services.server.feedback import UnknownPredictionError
from services.server.slots import Slot, Slots
from services.server.status import Status
from shared.events import ServerPhase
from shared.health import Health
from shared.labels import Label
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.settings import Settings, load_settings
from tests.unit.server.fakes import FakeModel, card

VERSION = "7"
ADMIN_KEY = "an-administrators-key"


@dataclass
class Remembering:
    """Takes labels of predictions that were given."""

    given: set[str] = field(default_factory=set)

    def keep(self, predictions: Sequence[Prediction]) -> None:
        self.given.update(prediction.prediction_id for prediction in predictions)

    def report(self, prediction_id: str, label: Label) -> str:
        if prediction_id not in self.given:
            raise UnknownPredictionError(f"prediction {prediction_id!r} is not remembered")
        return str(label)


@dataclass(frozen=True)
class Live:
    """A server that listens; `app` is what it serves."""

    host: str
    port: int
    app: FastAPI

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def live(model: FakeModel | None = None, **server: object) -> Iterator[Live]:
    """Serves the model until the block ends."""
    app = application(load_settings(server=server), model or FakeModel())
    config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="on", log_config=None, access_log=False)
    http = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            # The socket takes connections already; they are answered once the server has started.
            yield Live(*listener.getsockname()[:2], app)
        finally:
            http.should_exit = True
            thread.join()


def application(settings: Settings, model: FakeModel) -> FastAPI:
    """The API over this model, its batcher running while the application does."""
    registry, slots, remembering = CollectorRegistry(), Slots(), Remembering()
    metrics, health = ServerMetrics(registry), Health(ServiceMetrics(registry))
    status = Status("replica", None, metrics, health, lambda state: None)
    engine = Engine(settings, slots, metrics, [remembering.keep])
    slot = Slot(card(VERSION), model)
    slots.switch(slot)
    status.serves(slot.card, slot.model.plan)
    status.enter(ServerPhase.SERVING)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher = asyncio.create_task(engine.batcher.run())
        yield
        batcher.cancel()
        with suppress(asyncio.CancelledError):
            await batcher

    parts = Parts(settings, engine, remembering, status, health, metrics, registry, threading.Event())
    return build_api(parts, lifespan)
