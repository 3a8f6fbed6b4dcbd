"""A retrainer over real Kafka and MLflow: windows go in as the windower writes them, candidates are read back."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from deploy.local import process
from services.retrainer.app import Retrainer, build
from shared.archive import Archive, UnlabeledRow, WindowRow
from shared.envelope import decode
from shared.errors import RetryableError
from shared.events import (
    BaseCandidate,
    BaseDecision,
    Candidate,
    CandidateStatus,
    ClosedWindow,
    Command,
    Decision,
    Event,
    Side,
    SplitRecord,
    Trigger,
    UnlabeledWindow,
    Verdict,
    utc_now,
)
from shared.health import Health
from shared.kafka import Admin, Producer, read_topic
from shared.metrics import ServiceMetrics
from shared.service import Context
from shared.settings import Settings, load_settings
from shared.topics import (
    BASES_CANDIDATES,
    BASES_DECISIONS,
    CONTROL_COMMANDS,
    MODELS_CANDIDATES,
    MODELS_DECISIONS,
    WINDOWS_CLOSED,
    WINDOWS_UNLABELED,
    Topic,
)

LABELS = ("negative", "positive")
SPLIT = SplitRecord(salt="s", holdout_share=100, calibration_share=100, validation_share=100, normaliser_version="1")
SIDES = (Side.HOLDOUT, Side.CALIBRATION, Side.VALIDATION, *[Side.TRAIN] * 7)
WORDS = (("awful", "boring", "waste"), ("wonderful", "perfect", "fun"))
SUBJECTS = ("film", "movie", "story", "plot", "scene", "music")
PATIENCE_SECONDS = 240.0
LOOK_SECONDS = 0.05


ADAPTATION = {"min_rows": 50, "epochs": 2, "head_epochs": 1, "learning_rate": 5e-3, "probe_rows": 60}


def settings_for(
    bootstrap_servers: str, tracking_uri: str, prefix: str, home: Path, cache: Path, **training: object
) -> Settings:
    """A stream with a tiny model that learns in a second, and a base that is adapted in a few."""
    return load_settings(
        home=home,
        cache=cache,
        stream={"prefix": prefix},
        kafka={"bootstrap_servers": bootstrap_servers, "poll_seconds": 0.1, "session_timeout_seconds": 6},
        registry={"tracking_uri": tracking_uri, "attempts": 2, "timeout_seconds": 5},
        model={"base": "tiny", "threads": 1},
        training={"learning_rate": 5e-3, "epochs": 2, "checkpoint_steps": 10, "precision": "fp32"} | training,
        adaptation=ADAPTATION,
    )


class Stream:
    """What stands around the retrainer: the windower before it, the gate behind it, and a reader."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.archive = settings, Archive(settings)
        self._windows = self._texts = 0
        admin = Admin(settings)
        admin.create_topics()
        admin.close()

    def window(self, rows: int = 200, trainable: bool = True, flipped: bool = False) -> ClosedWindow:
        """A closed window in the archive, not yet announced; `flipped`: every label is the other one."""
        first = self._windows * 1000
        made = [_row(first + place, place, flipped) for place in range(rows)]
        window_id = f"w-{first:010d}"
        window = ClosedWindow(
            window_id=window_id,
            sequence=self._windows,
            first_offset=first,
            last_offset=first + rows - 1,
            reviews=rows,
            kept=rows,
            set_aside=(),
            sides={side: sum(row.side is side for row in made) for side in Side},
            labels=dict.fromkeys(LABELS, rows // 2),
            sources={},
            label_names=LABELS,
            origins={"0": (first, first + rows - 1)},
            first_published_at=utc_now(),
            last_published_at=utc_now(),
            trigger=Trigger.COUNT,
            trigger_detail=f"{rows} rows",
            trainable=trainable,
            not_trainable_because=None if trainable else "one class only",
            split=SPLIT,
            snapshot=self.archive.write(window_id, made),
            closed_at=utc_now(),
        )
        self._windows += 1
        return window

    def texts(self, rows: int = 200) -> UnlabeledWindow:
        """A window of unlabelled text in the archive, not yet announced."""
        first = self._texts * 1000
        made = [_text(first + place, place) for place in range(rows)]
        window_id = f"u-{first:010d}"
        window = UnlabeledWindow(
            window_id=window_id,
            sequence=self._texts,
            first_offset=first,
            last_offset=first + rows - 1,
            reviews=rows,
            kept=rows,
            set_aside=(),
            sides={side: sum(row.side is side for row in made) for side in Side},
            sources={},
            origins={"0": (first, first + rows - 1)},
            first_published_at=utc_now(),
            last_published_at=utc_now(),
            trigger=Trigger.COUNT,
            trigger_detail=f"{rows} rows",
            split=SPLIT,
            snapshot=self.archive.write_unlabeled(window_id, made),
            closed_at=utc_now(),
        )
        self._texts += 1
        return window

    def announce(self, *windows: ClosedWindow | UnlabeledWindow) -> None:
        """Writes manifests, as the windowers do."""
        labelled = [window for window in windows if isinstance(window, ClosedWindow)]
        self._send(WINDOWS_CLOSED, [(window.window_id, window) for window in labelled])
        texts = [window for window in windows if isinstance(window, UnlabeledWindow)]
        self._send(WINDOWS_UNLABELED, [(window.window_id, window) for window in texts])

    def labelled(self, rows: int = 200) -> ClosedWindow:
        """A window that is there to compare bases with, and needs no training: announced with its candidate."""
        window = self.window(rows)
        ids = {"window_id": window.window_id, "window_ids": (window.window_id,)}
        candidate = Candidate(**ids, status=CandidateStatus.FAILED, reason="a test says so", created_at=utc_now())
        self._send(MODELS_CANDIDATES, [(window.window_id, candidate)])
        self.announce(window)
        self.decide(candidate, Verdict.REJECT)
        return window

    def decide(self, candidate: Candidate, verdict: Verdict, quarantined: bool = False) -> None:
        """Writes a decision, as the gate does."""
        promoted = verdict is Verdict.PROMOTE
        decision = Decision(
            number=1,
            version=candidate.version,
            window_id=candidate.window_id,
            verdict=verdict,
            reasons=("a test says so",),
            champion_before=None,
            champion_after=candidate.version if promoted else None,
            model_digest=candidate.model_digest,
            quarantined=quarantined,
            decided_at=utc_now(),
        )
        self._send(MODELS_DECISIONS, [(candidate.version or "", decision)])

    def decide_base(self, candidate: BaseCandidate, verdict: Verdict, in_use: str | None) -> None:
        """Writes a decision on an adapted base, as its gate does."""
        facts = {"version": candidate.version, "window_id": candidate.window_id, "model_digest": candidate.model_digest}
        decision = BaseDecision.model_validate(
            {**facts, "number": 1, "verdict": verdict, "reasons": ["a test says so"], "base_before": None}
            | {"base_after": in_use, "decided_at": utc_now()}
        )
        self._send(BASES_DECISIONS, [(candidate.window_id, decision)])

    def order(self, *commands: Command) -> None:
        """Writes orders, as `tidemill` does."""
        self._send(CONTROL_COMMANDS, [(command.command_id, command) for command in commands])

    def candidates(self) -> list[Candidate]:
        """Everything that was published so far."""
        records = read_topic(self.settings, "test", MODELS_CANDIDATES)
        return [decode(Candidate, record.value, record.where()) for record in records]

    def base_candidates(self) -> list[BaseCandidate]:
        """Every adapted base that was announced so far, and every reason why there is none."""
        records = read_topic(self.settings, "test", BASES_CANDIDATES)
        return [decode(BaseCandidate, record.value, record.where()) for record in records]

    def snapshot_file(self, window: ClosedWindow | UnlabeledWindow) -> Path:
        return Path(self.settings.archive_url) / window.snapshot.path

    def run_folder(self, window: ClosedWindow | UnlabeledWindow) -> Path:
        return self.settings.home / "runs" / self.settings.stream.folder / window.window_id

    def _send(self, topic: Topic, events: Sequence[tuple[str, Event]]) -> None:
        producer = Producer(self.settings, "test")
        for key, event in events:
            producer.send(topic, key, event).wait(30)
        producer.close()


def _row(offset: int, place: int, flipped: bool) -> WindowRow:
    label = place % 2
    return WindowRow(
        offset=offset,
        id=str(offset),
        text=f"film {offset} was {WORDS[label][place % 3]} " + "and so on " * (place % 7),
        label=1 - label if flipped else label,
        side=SIDES[place % len(SIDES)],
        source=None,
        created_at=None,
        prediction_id=None,
        origin_partition=0,
        origin_offset=offset,
        published_at=utc_now(),
        signature=None,
    )


def _text(offset: int, place: int) -> UnlabeledRow:
    return UnlabeledRow(
        offset=offset,
        id=str(offset),
        text=f"the {SUBJECTS[place % 6]} was {WORDS[place % 2][place % 3]} again and " + "so on " * (place % 7),
        side=SIDES[place % len(SIDES)],
        source=None,
        created_at=None,
        origin_partition=0,
        origin_offset=offset,
        published_at=utc_now(),
    )


class Mill:
    """The service's loop in this process, turned by the test."""

    def __init__(self, settings: Settings) -> None:
        registry = CollectorRegistry()
        metrics = ServiceMetrics(registry)
        self.registry = registry
        self.loop: Retrainer = build(Context(settings, registry, metrics, Health(metrics), threading.Event()))
        self.waited_for: list[str] = []

    def turn(self, until: Callable[[], bool]) -> None:
        """Steps as `shared.service` does until something is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, f"not reached; waited for {self.waited_for[-3:]}"
            try:
                self.loop.step()
            except RetryableError as error:
                self.waited_for.append(str(error))

    def published(self, number: float) -> Callable[[], bool]:
        """So many candidates, of whatever status."""
        names = ("ready", "failed", "skipped", "distrusted")
        return lambda: sum(self.count(name) for name in names) >= number

    def adapted(self, number: float) -> Callable[[], bool]:
        """So many candidates for the base, of whatever status."""
        return lambda: sum(self.count(name, "base_candidates") for name in ("ready", "failed")) >= number

    def count(self, status: str, kind: str = "candidates") -> float:
        return self.registry.get_sample_value(f"tidemill_{kind}_total", {"status": status}) or 0.0


@contextmanager
def mill(settings: Settings) -> Iterator[Mill]:
    """A mill that is closed in the end."""
    made = Mill(settings)
    try:
        yield made
    finally:
        made.loop.close()


class RetrainerProcess(process.Held):
    """`python -m services.retrainer` under these settings, for tests that kill it, or a module that stands for it."""

    def __init__(
        self, settings: Settings, module: str = "services.retrainer", more: Mapping[str, str] | None = None
    ) -> None:
        """Args: more: added to its environment."""
        super().__init__()
        self._settings, self._module, self._more = settings, module, dict(more or {})

    def start(self) -> None:
        self._settings.home.mkdir(parents=True, exist_ok=True)
        with (self._settings.home / "retrainer.log").open("ab") as log:
            argv = [*process.PYTHON_MODULE, self._module]
            self._process = process.spawn(argv, log, environment(self._settings) | self._more)

    @property
    def exit_code(self) -> int | None:
        """How it ended by itself; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def terminate(self) -> int:
        """Asks it to drain; returns its exit code."""
        assert self._process is not None
        code = process.stop(self._process, PATIENCE_SECONDS)
        self._process = None
        return code


def environment(settings: Settings) -> dict[str, str]:
    """Settings as variables, for a process of its own."""
    model, training, kafka, registry = settings.model, settings.training, settings.kafka, settings.registry
    adaptation = {
        f"TIDEMILL_ADAPTATION__{name.upper()}": str(getattr(settings.adaptation, name)) for name in ADAPTATION
    }
    return {
        "TIDEMILL_HOME": str(settings.home),
        "TIDEMILL_CACHE": str(settings.cache),
        "TIDEMILL_STREAM__PREFIX": settings.stream.prefix,
        "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers(),
        "TIDEMILL_KAFKA__POLL_SECONDS": str(kafka.poll_seconds),
        "TIDEMILL_KAFKA__SESSION_TIMEOUT_SECONDS": str(kafka.session_timeout_seconds),
        "TIDEMILL_REGISTRY__TRACKING_URI": settings.tracking_uri(),
        "TIDEMILL_REGISTRY__ATTEMPTS": str(registry.attempts),
        "TIDEMILL_MODEL__BASE": model.base,
        "TIDEMILL_MODEL__THREADS": str(model.threads),
        "TIDEMILL_TRAINING__LEARNING_RATE": str(training.learning_rate),
        "TIDEMILL_TRAINING__EPOCHS": str(training.epochs),
        "TIDEMILL_TRAINING__CHECKPOINT_STEPS": str(training.checkpoint_steps),
        "TIDEMILL_TRAINING__PRECISION": training.precision,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    } | adaptation


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits until it is so."""
    never, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        never.wait(LOOK_SECONDS)
