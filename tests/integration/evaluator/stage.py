"""A stream with real Kafka, MLflow and archive, where tests publish windows and candidates and turn the evaluator."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.evaluator.launcher import Score
from shared.archive import Archive, WindowRow
from shared.classifier.digest import model_digest
from shared.envelope import decode
from shared.errors import RetryableError
from shared.events import (
    Candidate,
    CandidateStatus,
    ClosedWindow,
    Command,
    CommandKind,
    CuratedReview,
    Decision,
    Event,
    Origin,
    Side,
    SplitRecord,
    Trigger,
    new_id,
    utc_now,
)
from shared.health import Health
from shared.kafka import Admin, Producer, read_topic
from shared.label_quality import QUALITY_FILE, LabelQuality
from shared.metrics import ServiceMetrics
from shared.registry import Registry
from shared.service import Context, Loop
from shared.settings import Settings, load_settings
from shared.topics import (
    CONTROL_COMMANDS,
    MODELS_CANDIDATES,
    MODELS_DECISIONS,
    REVIEWS_CURATED,
    WINDOWS_CLOSED,
    Topic,
)
from tests.unit.evaluator.builders import lineage

ROWS = 40
MOST_STEPS = 300


class Killed(BaseException):
    """The process ended here."""


class Dying:
    """Passes everything on, until the one call before or after which the process ends."""

    def __init__(self, real: Any, call: str, after: bool) -> None:
        self._real, self._call, self._after = real, call, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name != self._call:
            return found
        return self._dying_transaction if name == "transaction" else self._dies(found)

    def _dies(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **more: Any) -> Any:
            if self._after:
                call(*args, **more)
            raise Killed

        return dying

    @contextmanager
    def _dying_transaction(self, *args: Any) -> Iterator[Any]:
        """Before or after the commit: what was sent by then is lost with the process, or is not."""
        with self._real.transaction(*args) as transaction:
            yield transaction
            if not self._after:
                raise Killed
        raise Killed


class InlineScoring:
    """The scorer in this process: what it does is the same, and torch is loaded once for all tests."""

    def __init__(self, score: Score[Any, Any], exam: Any, settings: Settings) -> None:
        self._score, self._exam, self._settings = score, exam, settings

    def result(self) -> Any:
        return self._score(self._exam, self._settings)

    def close(self) -> None:
        """Nothing is under way."""


@dataclass(frozen=True)
class Models:
    """MLflow-format folders of tiny models, named by what they always answer."""

    positive: Path
    surely_positive: Path
    negative: Path


class Stage:
    """One stream."""

    def __init__(
        self,
        bootstrap_servers: str,
        tracking_uri: str,
        prefix: str,
        home: Path,
        pool_rows: int = 2000,
        monitor: Mapping[str, Any] | None = None,
        **gate: Any,
    ) -> None:
        self.settings = load_settings(
            home=home,
            stream={"prefix": prefix},
            kafka={"bootstrap_servers": bootstrap_servers, "heartbeat_seconds": 0.2, "poll_seconds": 0.1},
            registry={"tracking_uri": tracking_uri, "attempts": 1, "keep_versions": 2},
            evaluator={
                "gate": {"pool_rows": pool_rows} | gate,
                "assert_alias_seconds": 0.2,
                "attempts": 2,
                "killed_attempts": 3,
                "monitor": monitor or {},
            },
            model={"threads": 1, "device": "cpu"},
        )
        admin = Admin(self.settings)
        admin.create_topics()
        admin.close()
        self.registry = Registry(self.settings)
        self._archive = Archive(self.settings)
        self._sequence = self._curated = 0

    # What others publish

    def window(self, label: int = 1, rows: int = ROWS) -> ClosedWindow:
        """Closes a window of held-out reviews that read badly; all have this label."""
        sequence, first = self._sequence, 1000 * self._sequence
        self._sequence += 1
        window_id = f"w-{first:010d}"
        now = utc_now()
        reviews = [
            WindowRow(
                first + place,
                str(place),
                f"A terrible, awful and boring film, number {first + place}.",
                label,
                Side.HOLDOUT,
                None,
                None,
                None,
                0,
                first + place,
                now,
                None,
            )
            for place in range(rows)
        ]
        manifest = ClosedWindow(
            window_id=window_id,
            sequence=sequence,
            first_offset=first,
            last_offset=first + rows - 1,
            reviews=rows,
            kept=rows,
            set_aside=(),
            sides={Side.HOLDOUT: rows},
            labels={self.settings.stream.labels[label]: rows},
            sources={},
            label_names=self.settings.stream.labels,
            origins={},
            first_published_at=now,
            last_published_at=now,
            trigger=Trigger.COUNT,
            trigger_detail="enough",
            trainable=True,
            split=SplitRecord(
                salt="s", holdout_share=850, calibration_share=0, validation_share=0, normaliser_version="1"
            ),
            snapshot=self._archive.write(window_id, reviews),
            closed_at=now,
        )
        self._send(WINDOWS_CLOSED, window_id, manifest)
        return manifest

    def register(self, window: ClosedWindow, folder: Path, name: str | None = None) -> Candidate:
        """Registers a model as the window's, without telling the evaluator; `name`: instead of the window's."""
        name = name or window.window_id
        run_id = self.registry.run_of_window(name, name)
        source = self.registry.upload_model(run_id, folder)
        version = self.registry.register(name, run_id, source, lineage(window).to_tags())
        return Candidate(
            window_id=window.window_id,
            window_ids=(window.window_id,),
            status=CandidateStatus.READY,
            version=version.version,
            run_id=run_id,
            model_digest=model_digest(folder),
            created_at=utc_now(),
        )

    def rebuild(self, window: ClosedWindow, folder: Path, name: str, without: str) -> Candidate:
        """Publishes a model as the champion's history, which is this window, without some of its rows."""
        candidate = self.register(window, folder, name)
        told = {"window_id": name, "rebuild_of": self.registry.champion(), "without": (without,)}
        self.publish(candidate.model_copy(update=told))
        return candidate

    def challenge(self, window: ClosedWindow, folder: Path) -> Candidate:
        """Registers a model and publishes it as the window's candidate."""
        candidate = self.register(window, folder)
        self.publish(candidate)
        return candidate

    def distrust(self, window: ClosedWindow, found: LabelQuality) -> Candidate:
        """Publishes that a window's labels were not learned, as the retrainer does."""
        run_id = self.registry.run_of_window(window.window_id, f"look at labels of {window.window_id}")
        self.registry.log_text(run_id, found.model_dump_json(), QUALITY_FILE)
        candidate = Candidate(
            window_id=window.window_id,
            window_ids=(window.window_id,),
            status=CandidateStatus.DISTRUSTED,
            reason=found.distrust,
            run_id=run_id,
            numbers=found.numbers(),
            created_at=utc_now(),
        )
        self.publish(candidate)
        return candidate

    def publish(self, candidate: Candidate) -> None:
        """Tells the evaluator."""
        self._send(MODELS_CANDIDATES, candidate.window_id, candidate)

    def order(self, kind: CommandKind, target: str | None = None, command_id: str | None = None) -> None:
        """An operator's command."""
        command = Command(
            command_id=command_id or new_id(), kind=kind, target=target, who="ann", why="a trial", issued_at=utc_now()
        )
        self._send(CONTROL_COMMANDS, command.command_id, command)

    def curate(self, count: int, label: int = 1, **fields: Any) -> None:
        """Publishes reviews as the curator would; no two are alike."""
        first, self._curated = self._curated, self._curated + count
        self.send_all(REVIEWS_CURATED, [curated(number, label, **fields) for number in range(first, first + count)])

    def send_all(self, topic: Topic, events: Iterable[Event]) -> None:
        """Publishes events in order."""
        producer = Producer(self.settings, "stage")
        for delivery in [producer.send(topic, "key", event) for event in events]:
            delivery.wait(30)
        producer.close()

    def _send(self, topic: Topic, key: str, event: Event) -> None:
        producer = Producer(self.settings, "stage")
        producer.send(topic, key, event).wait(30)
        producer.close()

    # What came out

    def decisions(self) -> list[Decision]:
        """The ledger as anybody reads it."""
        records = read_topic(self.settings, "reader", MODELS_DECISIONS)
        return [decode(Decision, record.value, record.where()) for record in records]

    def commands_done(self) -> int:
        """How many commands the evaluator has put behind it."""
        admin = Admin(self.settings)
        offsets = admin.group_offsets("evaluator")
        admin.close()
        return offsets.get((CONTROL_COMMANDS.full_name(self.settings.stream.prefix), 0), 0)

    def story(self) -> list[tuple[int, str | None, str, str | None]]:
        """(number, version, verdict, champion after) of every entry."""
        return [(entry.number, entry.version, entry.verdict.value, entry.champion_after) for entry in self.decisions()]


def curated(number: int, label: int = 1, **fields: Any) -> CuratedReview:
    """A review that no other is like."""
    return CuratedReview(
        id=str(number),
        text=f"A review of film number {number}.",
        label=label,
        side=Side.TRAIN,
        marked_test=False,
        origin=Origin(partition=0, offset=number),
        published_at=utc_now(),
        **fields,
    )


class Running:
    """One evaluator in this process."""

    def __init__(self, settings: Settings, build: Callable[[Context], Loop]) -> None:
        self._registry = CollectorRegistry()
        metrics = ServiceMetrics(self._registry)
        self._loop = build(Context(settings, self._registry, metrics, Health(metrics), threading.Event()))

    def metric(self, name: str, **labels: str) -> float:
        """A sample of its metrics; 0 if there is none."""
        return self._registry.get_sample_value(f"tidemill_{name}", labels) or 0.0

    def until_entry(self, number: int, ledger: str = "ledger_number") -> None:
        """Turns it until the ledger has so many entries."""
        self.until(lambda: self.metric(ledger) >= number)

    def turn(self, steps: int) -> None:
        """Turns it a while, although nothing arrives: it compares the alias meanwhile."""
        for _ in range(steps):
            self._loop.step()

    def until(self, done: Callable[[], bool], most_steps: int = MOST_STEPS) -> None:
        """Turns it until something has come about, as the service would: what can be retried is."""
        for _ in range(most_steps):
            if done():
                return
            try:
                self._loop.step()
            except RetryableError as error:
                reason = str(error)
            else:
                reason = "nothing wrong"
        raise AssertionError(f"it did not come about in {most_steps} steps; last: {reason}")

    def close(self) -> None:
        """Ends it; also after it was killed, so that the group need not wait for a dead member."""
        self._loop.close()
