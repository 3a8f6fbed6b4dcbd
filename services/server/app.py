"""Wires the server together: HTTP on the event loop, the model in a worker thread, the champion followed in another."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout
from prometheus_client import CollectorRegistry

from services.server import memory
from services.server.alias import promoted_alias
from services.server.api.application import build_api
from services.server.api.parts import Parts
from services.server.canary_swapper import CanarySwapper
from services.server.card import Card
from services.server.comparer import Comparer
from services.server.engine import Engine
from services.server.feedback import Feedback
from services.server.follower import Follower
from services.server.holdout import read_holdout
from services.server.ledger import LedgerReader
from services.server.lengths import Lengths
from services.server.listening import url_of
from services.server.outbox import Outbox
from services.server.plan_report import PlanReport
from services.server.planner import Outside, Planner
from services.server.predictions import PredictionSampler
from services.server.shelf import Shelf
from services.server.slots import Slots, Stage
from services.server.speeds import Speeds
from services.server.status import Status
from services.server.store import PredictionStore
from services.server.swapper import Swapper
from services.server.tls import tls_options
from services.server.worker import cores
from shared.archive import Archive
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.capability import check_plan, machine_kind, token_budget, usual_plan
from shared.classifier.plan import Plan
from shared.classifier.precision import choose_device
from shared.classifier.threads import use_threads
from shared.errors import ConfigurationError, DeviceLostError, ExitCode, TidemillError
from shared.events import CanaryCounts, ServerState
from shared.health import Health
from shared.kafka import check_codecs
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.registry import Registry
from shared.retry import Stopped
from shared.settings import ServerSettings, Settings
from shared.topics import CANARIES_COUNTS, SERVERS_STATE

log = structlog.get_logger("server")
FOLLOWER_SECONDS = 5.0
# The model's thread asks for the interpreter between any two operations of torch. In an overload, when the event loop
# always has something to do, it would wait for Python's 5 ms each time: a fifth of what the server can bear.
SWITCH_SECONDS = 0.001


def serve(settings: Settings, listeners: Sequence[socket.socket], store_name: str) -> ExitCode:
    """Serves on all listeners until a signal, and drains. Returns why it ended.

    Args:
        listeners: Bound sockets; the last is this process's own, by which it is known.
        store_name: Replica whose folder keeps the texts of predictions: workers of one replica share them.

    Raises:
        ConfigurationError: A setting is missing or wrong, or the replica runs already.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    memory.set_up(settings.model.threads or cores())
    check_codecs()
    settings.bootstrap_servers()
    if settings.model.threads is not None:
        use_threads(settings.model.threads)
    if (fixed := settings.server.plan.fixed) is not None:
        check_plan(fixed, choose_device(settings.model.device))
    folder = replica_folder(settings, settings.server.replica_id)
    store = replica_folder(settings, store_name) / "predictions.sqlite"
    with _alone(folder):
        server = Server(settings, folder, store, url_of(listeners[-1], settings.server.scheme))
        log.info("started", url=server.url)
        code = server.serve(listeners)
    log.info("stopped", exit_code=int(code), reason=code.name.lower())
    return code


def replica_folder(settings: Settings, name: str) -> Path:
    """Where a replica keeps its models and the texts of its predictions.

    Raises:
        ConfigurationError: The replica's name cannot be that of a folder.
    """
    if Path(name).name != name:
        raise ConfigurationError(f"server.replica_id {name!r} cannot name a folder; use letters, digits and dashes")
    folder = settings.home.resolve() / "server" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two servers on one folder would sweep each other's models."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"a server already runs on {folder}; give this one another server.replica_id"
        ) from None
    with lock:
        yield


class _Http(uvicorn.Server):
    """Drains at the first signal and ends the process at the second; the exit code stays ours to choose."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True


class Server:
    """All parts of one replica."""

    def __init__(self, settings: Settings, folder: Path, store: Path, url: str) -> None:
        self.url = url
        self._settings, self._stopping = settings, threading.Event()
        self._look = threading.Event()
        self._code, self._has_settled = ExitCode.STOPPED, False
        self._registry = CollectorRegistry()
        self._service_metrics, self._metrics = ServiceMetrics(self._registry), ServerMetrics(self._registry)
        self._models = Registry(settings, self._stopping)
        self._shelf = Shelf(folder / "models")
        self._device = choose_device(settings.model.device)
        kind, lasting = machine_kind(self._device), settings.server.plan.remember_seconds
        self._speeds, self._lengths = Speeds(folder / "speeds.json", kind, lasting), Lengths()
        self._store = PredictionStore(store, settings.server.prediction_store_rows)
        self._outbox = Outbox(settings, self._stopping)
        self._slots = Slots()
        sampler = PredictionSampler(settings.server, self._outbox, self._metrics)
        self._engine = Engine(
            settings, self._slots, self._metrics, [self._store.keep, sampler.keep, self._lengths.keep]
        )
        self._comparer = Comparer(settings, self._slots, self._engine.batcher, self._metrics.canary)
        self._engine.also_tell(self._comparer.keep)
        health = Health(self._service_metrics)
        self._status = Status(settings.server.replica_id, url, self._metrics, health, self._announce)
        feedback = Feedback(settings.stream, self._store, self._outbox, self._metrics)
        parts = Parts(settings, self._engine, feedback, self._status, health, self._metrics, self._registry, self._look)
        self._http = _Http(_http_config(build_api(parts, self._lifespan), settings.server))

    def serve(self, listeners: Sequence[socket.socket]) -> ExitCode:
        """Answers until a signal; returns why it ended."""
        self._http.run(sockets=list(listeners))
        return self._code if self._http.started else ExitCode.CRASHED

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        batcher = asyncio.create_task(self._engine.batcher.run())
        batcher.add_done_callback(self._batcher_ended)
        comparer = asyncio.create_task(self._comparer.run())
        stage = Stage(self._slots, asyncio.get_running_loop())
        planner = self._planner(stage)
        planner.start()
        follower = self._follower(stage, planner)
        follower.start()
        try:
            yield
        finally:
            self._stopping.set()
            comparer.cancel()
            batcher.cancel()
            await asyncio.to_thread(self._close, follower)

    def _planner(self, stage: Stage) -> Planner:
        settings = self._settings.server.plan
        outside = Outside(
            self._load,
            lambda card: read_holdout(Archive(self._settings), card, settings.holdout_rows),
            self._lengths.mixed,
            self._record_plans,
            lambda: self._engine.batcher.busy_seconds() > 0,
        )
        return Planner(settings, self._slots, stage, self._shelf, self._speeds, self._status, outside)

    def _load(self, folder: Path, plan: Plan) -> AnsweringClassifier:
        most = self._settings.model.max_tokens
        found = AnsweringClassifier.load(folder, self._device, max_tokens=most, plan=plan, lost=self._device_lost)
        if not self._has_settled:
            self._has_settled = True  # the first model has brought the libraries that it needs
            memory.settle()
        return found

    def _record_plans(self, card: Card, report: PlanReport) -> None:
        """Beside the model, for people to read; a registry that is gone costs nothing but that."""
        try:
            self._models.set_tags(card.version, report.tag(self._settings.server.replica_id))
        except (TidemillError, Stopped) as error:
            log.warning("plans_not_recorded", version=card.version, error=str(error))

    def _follower(self, stage: Stage, planner: Planner) -> Follower:
        fixed = self._settings.server.plan.fixed
        first = (
            fixed
            if fixed is not None and fixed.is_exact
            else usual_plan(token_budget(self._settings.model), self._device)
        )
        swapper = Swapper(
            self._settings,
            self._models,
            self._shelf,
            lambda folder: self._load(folder, first),
            stage,
            self._status,
            self._metrics,
            planner.standing_aside,
        )
        canaries = CanarySwapper(
            self._settings.server,
            swapper,
            self._shelf,
            stage,
            self._status,
            self._metrics.canary,
            self._report,
        )
        return Follower(
            self._settings,
            LedgerReader(self._settings),
            partial(promoted_alias, self._models),
            swapper,
            canaries,
            self._status,
            self._metrics,
            self._service_metrics,
            self._stopping,
            self._look,
        )

    def _batcher_ended(self, task: asyncio.Task[None]) -> None:
        """Without it every request would wait for its time limit; a restart is better."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash("batcher_crashed", error)

    def _device_lost(self, error: DeviceLostError) -> None:
        """Whatever it is asked from now on fails; another process may have the device."""
        self._crash("device_lost", error)

    def _crash(self, event: str, error: BaseException) -> None:
        log.critical(event, error=repr(error))
        self._code, self._http.should_exit = ExitCode.CRASHED, True

    def _announce(self, state: ServerState) -> None:
        self._outbox.offer(SERVERS_STATE, state.replica_id, lambda: state)

    def _report(self, counts: CanaryCounts) -> None:
        key = f"{counts.version}/{counts.replica_id}/{counts.session_id}"
        self._outbox.offer(CANARIES_COUNTS, key, lambda: counts)

    def _close(self, follower: Follower) -> None:
        follower.join(FOLLOWER_SECONDS)
        self._store.close()
        self._outbox.close()


def _http_config(api: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        api,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        **tls_options(settings),
    )
