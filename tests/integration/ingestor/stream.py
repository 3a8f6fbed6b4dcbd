"""A stream of its own for one test: its settings, its topics, and an ingestor in this process, step by step."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient
from prometheus_client import CollectorRegistry, Counter

from services.control.audit import AuditReport, run_audit
from services.ingestor.curating import CuratorLoop
from services.ingestor.windowing import WindowerLoop, labeled_windower, unlabeled_windower
from shared.envelope import decode
from shared.errors import TidemillError
from shared.events import ClosedWindow, Command, CommandKind, UnlabeledWindow, new_id, utc_now
from shared.health import Health
from shared.kafka import Admin, Producer, Record, read_topic
from shared.metrics import IngestorMetrics, ServiceMetrics
from shared.service import Context
from shared.settings import Settings, load_settings
from shared.topics import (
    CONTROL_COMMANDS,
    REVIEWS_CURATED,
    REVIEWS_LABELED,
    REVIEWS_REJECTED,
    REVIEWS_UNLABELED,
    WINDOWS_CLOSED,
    WINDOWS_UNLABELED,
)

STEPS = 120


class Stream:
    """The outside of a stream: what users publish and what anybody can read."""

    def __init__(self, bootstrap_servers: str, prefix: str, home: Path, rows: int = 20, **ingestor: Any) -> None:
        """Args: rows: kept rows that close a window of either kind."""
        window = {"triggers": [{"kind": "count", "rows": rows}], "min_rows": 1}
        self.settings: Settings = load_settings(
            home=home,
            stream={"prefix": prefix},
            kafka={"bootstrap_servers": bootstrap_servers, "heartbeat_seconds": 0.2, "poll_seconds": 0.3},
            ingestor={"window": window, "unlabeled": {"rows": rows}} | ingestor,
        )
        admin = Admin(self.settings)
        admin.create_topics()
        admin.close()

    def publish(self, values: Sequence[bytes | None]) -> None:
        producer = Producer(self.settings, "publisher")
        for delivery in [producer.send_bytes(REVIEWS_LABELED, None, value) for value in values]:  # type: ignore[arg-type]
            delivery.wait(30)
        producer.close()

    def publish_reviews(self, count: int, first: int = 0) -> None:
        self.publish([review(number) for number in range(first, first + count)])

    def publish_texts(self, count: int, first: int = 0) -> None:
        """Reviews without a label."""
        self.publish([review(number, label=None) for number in range(first, first + count)])

    def order(self, kind: CommandKind = CommandKind.CLOSE_WINDOW) -> None:
        """Asks for the open window to be closed."""
        command = Command(command_id=new_id(), kind=kind, who="test", why="because", issued_at=utc_now())
        producer = Producer(self.settings, "control")
        producer.send(CONTROL_COMMANDS, command.command_id, command).wait(30)
        producer.close()

    def windows(self) -> list[ClosedWindow]:
        records = read_topic(self.settings, "test", WINDOWS_CLOSED)
        return [decode(ClosedWindow, record.value, record.where()) for record in records]

    def unlabeled_windows(self) -> list[UnlabeledWindow]:
        records = read_topic(self.settings, "test", WINDOWS_UNLABELED)
        return [decode(UnlabeledWindow, record.value, record.where()) for record in records]

    def unlabeled(self) -> list[Record]:
        return read_topic(self.settings, "test", REVIEWS_UNLABELED)

    def curated(self) -> list[Record]:
        return read_topic(self.settings, "test", REVIEWS_CURATED)

    def rejected(self) -> list[Record]:
        return read_topic(self.settings, "test", REVIEWS_REJECTED)

    def forget_offsets(self, *roles: str) -> None:
        """Deletes these groups of the ingestor with all their positions."""
        admin = KafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers())
        admin.delete_groups([self.settings.stream.identity(role) for role in roles])
        admin.close()

    def audit(self) -> AuditReport:
        return run_audit(self.settings)


def review(number: int, **fields: object) -> bytes:
    """A review that no other is like."""
    text = (
        f"Review {number}: scene {number * 7} has {number * 13} faults and {number * 17} delights, says {number * 19}."
    )
    return json.dumps({"text": text, "label": number % 2} | fields).encode()


def total(counter: Counter) -> int:
    """A counter's value over all its labels."""
    samples = (sample for metric in counter.collect() for sample in metric.samples)
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


class Ingestor:
    """Curator and windowers of one process, turned by hand. Leaving the block closes them as a drained stop does."""

    def __init__(
        self, settings: Settings, curates: bool = True, cuts: bool = True, cuts_unlabeled: bool = False
    ) -> None:
        registry = CollectorRegistry()
        service = ServiceMetrics(registry)
        self.context = Context(settings, registry, service, Health(service), threading.Event())
        self.metrics = IngestorMetrics(registry)
        self.curator = CuratorLoop(self.context, self.metrics) if curates else None
        self.windower = labeled_windower(self.context, self.metrics) if cuts else None
        self.unlabeled_windower = unlabeled_windower(self.context, self.metrics) if cuts_unlabeled else None

    def until(self, enough: Callable[[], bool]) -> None:
        """Turns the loops until something is so."""
        for _ in range(STEPS):
            if enough():
                return
            self.step()
        raise AssertionError(f"not so after {STEPS} steps")

    def step(self) -> None:
        for loop in self._loops():
            loop.step()

    def seen(self) -> int:
        """Reviews that the windower has read."""
        return total(self.metrics.labeled.windowed)

    def seen_unlabeled(self) -> int:
        """Texts that the windower of unlabelled text has read."""
        return total(self.metrics.unlabeled.windowed)

    def judged(self) -> int:
        """Records that the curator has judged and committed."""
        return total(self.metrics.reviews)

    def leave(self) -> None:
        """Ends as a kill does: an open transaction stays open. The group is told, to spare the test its patience."""
        for loop in self._loops():
            loop._consumer.close()

    def close(self) -> None:
        """Lets go of everything; what a successor fenced cannot be closed in order."""
        for loop in self._loops():
            with suppress(TidemillError):
                loop.close()

    def _loops(self) -> list[CuratorLoop | WindowerLoop[Any, Any]]:
        return [loop for loop in (self.curator, self.windower, self.unlabeled_windower) if loop]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
