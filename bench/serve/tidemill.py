"""Tidemill's server as it runs in earnest: over its own Kafka and MLflow, with models registered and promoted."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from bench.serve.client import HOST
from bench.serve.processes import end_family
from deploy.local import ports, process
from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.server.alias import VERDICT_TAG
from shared.archive import Archive, WindowRow
from shared.classifier.digest import model_digest
from shared.classifier.mlflow_format import save_for_mlflow
from shared.errors import UnreachableError
from shared.events import Decision, Snapshot, SplitRecord, Verdict, utc_now
from shared.kafka import Admin, Producer
from shared.lineage import Lineage
from shared.plan_settings import OFF, PlanSettings
from shared.registry import CHAMPION, Registry
from shared.settings import load_settings
from shared.text import NORMALISER_VERSION
from shared.topics import MODELS_DECISIONS

LABELS = ("negative", "positive")
START_SECONDS = 120.0
PLAN_SECONDS = 120.0
POLL_SECONDS = 0.1  # between two looks at the decisions, and at the plans
SEND_SECONDS = 30.0


@dataclass(frozen=True)
class Version:
    """A registered model."""

    version: str
    digest: str


@dataclass(frozen=True)
class Planned:
    """How a server answers. `asked`: its setting; `only_exact`, `tried`: as `GET /v1/model` has them under `plans`."""

    asked: str
    serves: str
    only_exact: str | None = None
    tried: tuple[dict[str, Any], ...] = ()


def plan_use(text: str) -> str:
    """A setting of plans as the command line has it. Raises: ValueError: It is none."""
    return PlanSettings(use=text).use


def plan_variables(use: str) -> dict[str, str]:
    """Of a server that looks for its plan as it is told to."""
    return {"TIDEMILL_SERVER__PLAN__USE": use}


def plan_at_once_variables(use: str) -> dict[str, str]:
    """The same for one that nobody asks meanwhile, so that it need not rest between two steps."""
    return plan_variables(use) | {"TIDEMILL_SERVER__PLAN__SHARE": "1"}


def device_variables(device: str) -> dict[str, str]:
    """Of a server that computes there."""
    return {"TIDEMILL_MODEL__DEVICE": device}


@dataclass(frozen=True)
class Serving:
    """A server process. `client`: one for all questions, since a new one costs both sides more than the question."""

    pid: int
    port: int
    client: httpx.Client

    def serves(self, version: str | None = None) -> bool:
        """Whether a model, or this version, is in service and no swap under way."""
        try:
            said = self.client.get("/readyz").json()
        except httpx.TransportError:
            return False
        return said.get("phase") == "serving" and version in (None, said.get("version"))

    def planned(self, asked: str) -> Planned:
        """By which plan it answers, once it has settled on one.

        Raises:
            UnreachableError: It had not within two minutes.
        """
        end = time.monotonic() + PLAN_SECONDS
        while True:
            said = self.client.get("/v1/model").json()
            if asked == OFF:
                return Planned(asked, said["plan"])
            if found := said.get("plans"):
                return Planned(asked, said["plan"], found.get("only_exact"), tuple(found["tried"]))
            if time.monotonic() > end:
                raise UnreachableError(f"the server said nothing of plans within {PLAN_SECONDS:g} s; its log says why")
            time.sleep(POLL_SECONDS)


class Stack:
    """Kafka and MLflow for one server, and a hand that registers and promotes as retrainer and evaluator would."""

    def __init__(self, folder: Path, variables: Mapping[str, str], threads: int) -> None:
        """Args: variables: of the server's environment. threads: of its model."""
        self._folder, self._variables, self._threads = folder, variables, threads
        self._broker, self._mlflow = Broker(folder / "kafka"), MlflowServer(folder / "mlflow")
        self._held = ExitStack()
        self._decisions = 0
        self._champion: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(self._broker)
            held.enter_context(self._mlflow)
            self._settings = load_settings(
                home=self._folder / "home",
                kafka={"bootstrap_servers": self._broker.bootstrap_servers, "poll_seconds": POLL_SECONDS},
                registry={"tracking_uri": self._mlflow.uri},
                server={"port": ports.choose(("port",), {})["port"]},
                model={"threads": self._threads},
            )
            self._registry = Registry(self._settings)
            admin = Admin(self._settings)
            admin.create_topics()
            admin.close()
            self._producer = Producer(self._settings, "bench")
            held.callback(self._producer.close)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of Kafka and MLflow."""
        return tuple(pid for pid in (self._broker.pid, self._mlflow.pid) if pid is not None)

    def register(self, files: Path, rows: Sequence[WindowRow]) -> Version:
        """A new version of these files, and in the archive the window that its lineage names."""
        window_id = f"w-{len(self._registry.versions()):010d}"
        model = self._folder / "registered" / window_id
        save_for_mlflow(files, model)
        digest = model_digest(model)
        run_id = self._registry.run_of_window(window_id, window_id)
        source = self._registry.upload_model(run_id, model)
        tags = lineage_of(window_id, Archive(self._settings).write(window_id, rows), len(rows), digest).to_tags()
        return Version(self._registry.register(window_id, run_id, source, tags).version, digest)

    def promote(self, version: Version) -> None:
        """Makes it the champion: the verdict, the alias, then the decision."""
        self._decisions += 1
        decision = Decision(
            number=self._decisions,
            version=version.version,
            window_id=None,
            verdict=Verdict.PROMOTE if self._decisions == 1 else Verdict.ROLLBACK,
            reasons=("the bench says so",),
            champion_before=self._champion,
            champion_after=version.version,
            model_digest=version.digest,
            decided_at=utc_now(),
        )
        self._registry.set_tags(version.version, {VERDICT_TAG: Verdict.PROMOTE.value})
        self._registry.set_alias(CHAMPION, version.version)
        self._producer.send(MODELS_DECISIONS, version.version, decision).wait(SEND_SECONDS)
        self._champion = version.version

    @contextmanager
    def serve(self) -> Iterator[Serving]:
        """`python -m services.server` until the block ends, once the champion is in service."""
        self._settings.home.mkdir(parents=True, exist_ok=True)
        log = self._folder / "server.log"
        with log.open("wb") as output:
            running = process.spawn([*process.PYTHON_MODULE, "services.server"], output, self._environment())
        port = self._settings.server.port
        try:
            with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False) as client:
                server = Serving(running.pid, port, client)
                process.wait_ready(running, server.serves, START_SECONDS, f"the server (log in {log})")
                yield server
        except UnreachableError as error:
            raise UnreachableError(f"{error}: {log.read_text(errors='replace')[-400:]}") from error
        finally:
            end_family(running.pid)

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        return {
            **self._variables,
            "TIDEMILL_HOME": str(settings.home),
            "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers(),
            "TIDEMILL_KAFKA__POLL_SECONDS": str(settings.kafka.poll_seconds),
            "TIDEMILL_REGISTRY__TRACKING_URI": settings.tracking_uri(),
            "TIDEMILL_SERVER__PORT": str(settings.server.port),
            "TIDEMILL_MODEL__THREADS": str(self._threads),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }


def lineage_of(window_id: str, snapshot: Snapshot, rows: int, digest: str) -> Lineage:
    """As of a version that learned from one window."""
    return Lineage(
        window_ids=(window_id,),
        offset_ranges=((0, rows - 1),),
        snapshot_sha256s=(snapshot.sha256,),
        base="bench",
        base_digest="bench",
        seed=0,
        labels=LABELS,
        normaliser_version=NORMALISER_VERSION,
        split=SplitRecord(
            salt="bench", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1"
        ),
        model_digest=digest,
        temperature=1.0,
        code_version="bench",
        plan_sha256="b" * 64,
        newest_published_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
