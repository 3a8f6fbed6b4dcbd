"""A server process over real Kafka and MLflow, a way to promote models, and traffic that never pauses."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from deploy.local import ports, process
from services.control.server_client import server_client
from services.server.alias import VERDICT_TAG
from services.server.champion import Champion
from shared.classifier.digest import model_digest
from shared.classifier.mlflow_format import save_for_mlflow
from shared.events import Decision, SplitRecord, Verdict, utc_now
from shared.kafka import Admin, Producer
from shared.lineage import Lineage
from shared.registry import CHAMPION, Registry
from shared.settings import Settings, load_settings
from shared.topics import MODELS_DECISIONS
from tests.models import SENTIMENTS, answering

START_SECONDS = 90.0
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05
PAUSE_SECONDS = 0.01  # between one client's requests: the server under test shares these cores


def stream_settings(
    bootstrap_servers: str, tracking_uri: str, prefix: str, home: Path, **kafka_seconds: float
) -> Settings:
    """Settings of one stream. Args: kafka_seconds: its timeouts; a busy machine needs the usual ones."""
    return load_settings(
        home=home,
        stream={"prefix": prefix},
        kafka={"bootstrap_servers": bootstrap_servers, "poll_seconds": 0.1, **kafka_seconds},
        registry={"tracking_uri": tracking_uri, "attempts": 2},
        server={"port": ports.choose(("port",), {})["port"], "check_alias_seconds": 0.5},
        model={"threads": 1},
    )


class ServerProcess(process.Held):
    """`python -m services.server` under these settings, or what else runs it."""

    def __init__(self, settings: Settings, arguments: Sequence[str] = ("-m", "services.server")) -> None:
        """Args: arguments: of Python."""
        super().__init__()
        self._settings, self._arguments = settings, arguments
        self.url = f"{settings.server.scheme}://127.0.0.1:{settings.server.port}"
        self._client = server_client(self.url, settings.server, timeout_seconds=30)

    def start(self) -> None:
        """Starts it and returns once it listens; a model may not serve yet."""
        self._settings.home.mkdir(parents=True, exist_ok=True)
        with (self._settings.home / "server.log").open("ab") as log:
            argv = [sys.executable, "-P", *self._arguments]
            self._process = process.spawn(argv, log, self._environment())
        process.wait_ready(self._process, self._listens, START_SECONDS, f"the server (log in {self._settings.home})")

    def terminate(self) -> int:
        """Asks it to drain; returns its exit code."""
        assert self._process is not None
        code = process.stop(self._process, PATIENCE_SECONDS)
        self._process = None
        return code

    def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path)

    def predict(self, caller: str = "somebody", **body: Any) -> httpx.Response:
        return self._client.post("/v1/predict", json=body, headers={"X-Canary-Key": caller})

    def until(self, holds: Callable[[dict[str, Any]], bool] = lambda said: True, **expected: object) -> dict[str, Any]:
        """Waits until /readyz says all of this, and `holds` of it; returns what it says."""
        deadline = threading.Event()
        timer = threading.Timer(PATIENCE_SECONDS, deadline.set)
        timer.start()
        try:
            while True:
                said: dict[str, Any] = self.get("/readyz").json()
                if expected.items() <= said.items() and holds(said):
                    return said
                assert not deadline.wait(LOOK_SECONDS), f"waited for {expected}, last: {said}"
        finally:
            timer.cancel()

    def _listens(self) -> bool:
        try:
            return self.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        return {
            "TIDEMILL_HOME": str(settings.home),
            "TIDEMILL_STREAM__PREFIX": settings.stream.prefix,
            "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers(),
            "TIDEMILL_KAFKA__POLL_SECONDS": str(settings.kafka.poll_seconds),
            "TIDEMILL_KAFKA__BOOTSTRAP_TIMEOUT_SECONDS": str(settings.kafka.bootstrap_timeout_seconds),
            "TIDEMILL_KAFKA__REQUEST_TIMEOUT_SECONDS": str(settings.kafka.request_timeout_seconds),
            "TIDEMILL_REGISTRY__TRACKING_URI": settings.tracking_uri(),
            "TIDEMILL_REGISTRY__ATTEMPTS": str(settings.registry.attempts),
            "TIDEMILL_SERVER__PORT": str(settings.server.port),
            "TIDEMILL_SERVER__REPLICA_ID": settings.server.replica_id,
            "TIDEMILL_SERVER__CANARY": settings.server.canary.model_dump_json(),
            "TIDEMILL_SERVER__CHECK_ALIAS_SECONDS": str(settings.server.check_alias_seconds),
            "TIDEMILL_SERVER__WORKERS": str(settings.server.workers),
            "TIDEMILL_MODEL__THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path.cwd()),
        }


class Gate:
    """Stands for retrainer and evaluator: registers models and writes the ledger and the alias."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder, self._number = settings, folder, 0
        self._champion: str | None = None
        self.registry = Registry(settings)
        admin = Admin(settings)
        admin.create_topics()
        admin.close()

    def register(
        self,
        label: str,
        labels: tuple[str, ...] = SENTIMENTS,
        certainty: float = 6.0,
        change: Callable[[Path], None] = lambda folder: None,
    ) -> Champion:
        """A new version that answers everything with this label; `change` may spoil its files before they are known."""
        window_id = f"w-{len(self.registry.versions()):010d}"
        flat = answering(self._folder / window_id / "flat", label, labels, certainty)
        save_for_mlflow(flat, self._folder / window_id / "model")
        change(self._folder / window_id / "model")
        digest = model_digest(self._folder / window_id / "model")
        run_id = self.registry.run_of_window(window_id, window_id)
        source = self.registry.upload_model(run_id, self._folder / window_id / "model")
        version = self.registry.register(window_id, run_id, source, lineage(window_id, digest, labels).to_tags())
        return Champion(version.version, digest)

    def promote(self, champion: Champion, verdict: Verdict = Verdict.PROMOTE) -> Champion:
        """Moves the alias, then tells the ledger."""
        self.crown(champion)
        return self._decide(champion, verdict, champion.version)

    def reject(self, challenger: Champion) -> Champion:
        """Tells the ledger that it may not be champion."""
        return self._decide(challenger, Verdict.REJECT, self._champion)

    def _decide(self, about: Champion, verdict: Verdict, after: str | None) -> Champion:
        self._number += 1
        decision = Decision(
            number=self._number,
            version=about.version,
            window_id=None,
            verdict=verdict,
            reasons=("a test says so",),
            champion_before=self._champion,
            champion_after=after,
            model_digest=about.digest,
            decided_at=utc_now(),
        )
        producer = Producer(self._settings, "test")
        producer.send(MODELS_DECISIONS, about.version, decision).wait(30)
        producer.close()
        self._champion = after
        return about

    def crown(self, champion: Champion) -> None:
        """What MLflow holds of a promotion: the verdict with the version, then the alias."""
        self.registry.set_tags(champion.version, {VERDICT_TAG: Verdict.PROMOTE.value})
        self.registry.set_alias(CHAMPION, champion.version)


def lineage(window_id: str, digest: str, labels: tuple[str, ...]) -> Lineage:
    """Tags of a version that learned from one window."""
    return Lineage(
        window_ids=(window_id,),
        offset_ranges=((0, 99),),
        snapshot_sha256s=("a" * 64,),
        base="tiny",
        base_digest="tiny",
        seed=0,
        labels=labels,
        normaliser_version="1",
        split=SplitRecord(
            salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1"
        ),
        model_digest=digest,
        temperature=1.0,
        code_version="test",
        plan_sha256="b" * 64,
        newest_published_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@dataclass
class Traffic:
    """Clients that ask again and again; `answers` counts (version, label), `failures` says what went wrong."""

    url: str
    clients: int = 2
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._progress = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._ask, args=(size,)) for size in range(1, self.clients + 1)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_answered_by(self, version: str, times: int = 20) -> None:
        """Waits until this version has answered so often."""
        with self._progress:
            answered = self._progress.wait_for(lambda: self._by(version) >= times or self.failures, PATIENCE_SECONDS)
        assert answered, f"version {version} answered {self._by(version)} times: {self.answers}"

    def more(self, times: int = 50) -> None:
        """Waits for so many more answers, by whomever."""
        with self._progress:
            enough = self.answers.total() + times
            assert self._progress.wait_for(lambda: self.answers.total() >= enough or self.failures, PATIENCE_SECONDS)

    def _by(self, version: str) -> int:
        return sum(count for (named, _), count in self.answers.items() if named == version)

    def _ask(self, texts: int) -> None:
        body = {"texts": [f"review number {number}" for number in range(texts)]}
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self._stop.wait(PAUSE_SECONDS):
                self._note(client, body, texts)

    def _note(self, client: httpx.Client, body: dict[str, list[str]], texts: int) -> None:
        try:
            response = client.post("/v1/predict", json=body)
            said = response.json()
            answers = [(said["model"]["version"], each["label"]) for each in said["predictions"]]
            failure = None if response.status_code == 200 and len(answers) == texts else response.text
        except (httpx.HTTPError, KeyError, ValueError) as error:
            answers, failure = [], repr(error)
        with self._progress:
            self.answers.update(answers)
            self.failures += [failure] if failure else []
            self._progress.notify_all()
