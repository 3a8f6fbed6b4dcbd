"""Stands in for Kafka below a windower: a topic of reviews, a group, a topic of manifests, and failures on order."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ingestor import windowing
from services.ingestor.kinds import Kind
from services.ingestor.windowing import WindowerLoop
from shared.archive import Archive
from shared.errors import ArchiveUnavailableError, BrokerUnavailableError
from shared.events import ClosedWindow, UnlabeledWindow
from shared.health import Health
from shared.kafka import Partition, Record
from shared.metrics import IngestorMetrics, ServiceMetrics
from shared.service import Context
from shared.settings import Settings
from shared.topics import Topic

FAILURES = ("archive away", "transaction aborted", "killed before the commit", "killed after the commit")


class Killed(BaseException):
    """Stands for the end of the process."""


class KafkaDouble:
    """What outlives a windower. `batch` and `failure` say what its next step meets."""

    def __init__(self, kind: Kind[Any, Any], records: Sequence[Record]) -> None:
        self.kind, self.records = kind, records
        self.committed, self.generation = 0, 0
        self.producers_open = 0
        self.manifests: list[ClosedWindow | UnlabeledWindow] = []
        self.batch = len(records)
        self.failure: str | None = None

    def fails(self, failure: str) -> bool:
        """Whether that was ordered; it happens once."""
        if self.failure != failure:
            return False
        self.failure = None
        return True

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Lets windowers meet this double instead of Kafka."""
        writes = {name: getattr(Archive, name) for name in ("write", "write_unlabeled")}

        def write(name: str) -> Any:
            def call(archive: Archive, *args: Any) -> Any:
                if self.fails("archive away"):
                    raise ArchiveUnavailableError("not now")
                return writes[name](archive, *args)

            return call

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windowing, "GroupConsumer", lambda *args: _Consumer(self))
            patch.setattr(windowing, "TransactionalProducer", lambda *args: _Producer(self))
            patch.setattr(windowing, "check_split", lambda *args: None)
            patch.setattr(windowing, "newest_manifests", lambda settings, kind, count: self.manifests[-count:])
            for name in writes:
                patch.setattr(Archive, name, write(name))
            yield


class _Consumer:
    """A group with one member: whoever came last."""

    def __init__(self, kafka: KafkaDouble) -> None:
        self._kafka, self._position, self._paused = kafka, kafka.committed, False
        self._partition: Partition = (kafka.kind.reviews.name, 0)
        kafka.generation += 1

    @property
    def generation(self) -> int:
        return self._kafka.generation

    @property
    def assignment(self) -> frozenset[Partition]:
        return frozenset([self._partition])

    def poll(self, seconds: float) -> list[Record]:
        records = [] if self._paused else self._left()[: self._kafka.batch]
        if records:
            self._position = records[-1].offset + 1
        return records

    def lag(self) -> dict[Partition, int]:
        return {self._partition: len(self._left())}

    def _left(self) -> list[Record]:
        return [record for record in self._kafka.records if record.offset >= self._position]

    def rewind(self) -> None:
        self._position = self._kafka.committed

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def close(self) -> None:
        """Holds nothing open."""


class _Transaction:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.offsets: dict[Partition, int] = {}

    def send(self, topic: Topic, key: str, event: Any, trace_parent: str | None) -> None:
        assert key == event.window_id
        self.events.append(event)

    def send_offsets(self, offsets: Mapping[Partition, int]) -> None:
        self.offsets |= offsets


class _Producer:
    def __init__(self, kafka: KafkaDouble) -> None:
        self._kafka = kafka
        kafka.producers_open += 1

    @contextmanager
    def transaction(self, consumer: _Consumer) -> Iterator[_Transaction]:
        transaction = _Transaction()
        yield transaction
        if self._kafka.fails("transaction aborted"):
            consumer.rewind()
            raise BrokerUnavailableError("not now")
        if self._kafka.fails("killed before the commit"):
            raise Killed
        self._kafka.manifests += transaction.events
        [self._kafka.committed] = transaction.offsets.values()
        if self._kafka.fails("killed after the commit"):
            raise Killed

    def close(self) -> None:
        self._kafka.producers_open -= 1


def start(settings: Settings, build: Any) -> WindowerLoop[Any, Any]:
    """A windower as a process just started has it."""
    registry = CollectorRegistry()
    service = ServiceMetrics(registry)
    loop: WindowerLoop[Any, Any] = build(
        Context(settings, registry, service, Health(service), threading.Event()), IngestorMetrics(registry)
    )
    return loop
