"""Reading topics without a group: whole, on and on, by range, or the newest."""

import time
from collections.abc import Iterable, Iterator

from kafka import TopicPartition
from kafka import errors as kafka_errors

from shared.errors import BrokerRefusedError, BrokerUnavailableError
from shared.kafka.connection import open_consumer
from shared.kafka.failures import broker_errors
from shared.kafka.records import Record, poll
from shared.settings import Settings
from shared.topics import Topic


class Follower:
    """Reads whole topics from their beginning, then on, without a group: for ledgers that are folded into state."""

    def __init__(self, settings: Settings, role: str, topics: Iterable[Topic]) -> None:
        """Raises BrokerUnavailableError if Kafka did not answer, BrokerRefusedError if a topic does not exist."""
        self._role, self._patience = role, settings.kafka.request_timeout_seconds
        self._raw = open_consumer(settings, role, group=None)
        names = [topic.full_name(settings.stream.prefix) for topic in topics]
        with broker_errors(f"looking up {names}"):
            self._tps = [tp for name in names for tp in self._partitions(name)]
            self._raw.assign(self._tps)
            for tp, beginning in self._raw.beginning_offsets(self._tps).items():
                self._raw.seek(tp, beginning)

    def _partitions(self, name: str) -> list[TopicPartition]:
        partitions = self._raw.partitions_for_topic(name)
        if not partitions:
            raise BrokerRefusedError(f"topic {name} does not exist; create topics with 'tidemill topics --create'")
        return [TopicPartition(name, partition) for partition in sorted(partitions)]

    def poll(self, seconds: float = 0.1) -> list[Record]:
        """What is new, waiting at most `seconds`."""
        with broker_errors(f"polling as {self._role}"):
            try:
                return poll(self._raw, seconds)
            except kafka_errors.OffsetOutOfRangeError as error:
                # Retention moved on under a slow reader: what is gone is gone, the rest is still to be read.
                for tp, beginning in self._raw.beginning_offsets(list(error.args[0])).items():
                    self._raw.seek(tp, beginning)
        return []

    def catch_up(self) -> Iterator[Record]:
        """Everything up to the end as it is at the call (committed records only).

        Raises:
            BrokerUnavailableError: Nothing more came for longer than a request may take.
        """
        with broker_errors(f"reading to the end as {self._role}"):
            ends = self._raw.end_offsets(self._tps)
        read, since = -1, time.monotonic()
        while any((self._raw.position(tp) or 0) < end for tp, end in ends.items()):
            yield from self.poll()
            position = sum(self._raw.position(tp) or 0 for tp in self._tps)
            if position != read:
                read, since = position, time.monotonic()
            elif time.monotonic() - since > self._patience:
                raise BrokerUnavailableError(f"reading to the end as {self._role}: nothing for {self._patience:.0f} s")

    def close(self) -> None:
        """Lets go of the connection."""
        self._raw.close(autocommit=False, timeout_ms=2000)


def read_topic(settings: Settings, role: str, *topics: Topic) -> list[Record]:
    """All committed records of the topics, by partition in offset order."""
    return list(iterate_topic(settings, role, *topics))


def iterate_topic(settings: Settings, role: str, *topics: Topic) -> Iterator[Record]:
    """Like `read_topic`, without holding them all."""
    follower = Follower(settings, role, topics)
    try:
        yield from follower.catch_up()
    finally:
        follower.close()


def read_range(settings: Settings, role: str, topic: Topic, partition: int, first: int, last: int) -> list[Record]:
    """The committed records of one partition with `first` <= offset <= `last`.

    Raises:
        BrokerRefusedError: `first` is no longer there.
    """
    raw = open_consumer(settings, role, group=None)
    tp = TopicPartition(topic.full_name(settings.stream.prefix), partition)
    records: list[Record] = []
    try:
        with broker_errors(f"reading {tp.topic}[{partition}] {first}-{last}"):
            raw.assign([tp])
            raw.seek(tp, first)
            end = min(last + 1, raw.end_offsets([tp])[tp])
            while (raw.position(tp) or 0) < end:
                records += poll(raw, 0.1)
    finally:
        raw.close(autocommit=False, timeout_ms=2000)
    return [record for record in records if record.offset <= last]


def read_newest(settings: Settings, role: str, topic: Topic, count: int = 1) -> list[Record]:
    """The last committed records of a topic with one partition, oldest first: `count` of them, if there are so many."""
    beginning, end = offset_range(settings, topic)[0]
    first, records = end, list[Record]()
    while len(records) < count and first > beginning:
        # Markers and aborted transactions take offsets too, so it is not known how far back `count` records reach.
        first = max(beginning, end - 4 * max(count, end - first))
        records = read_range(settings, role, topic, 0, first, end - 1)
    return records[-count:]


def offset_range(settings: Settings, topic: Topic) -> dict[int, tuple[int, int]]:
    """Partition -> (oldest offset, end of the committed records)."""
    follower = Follower(settings, "offsets", [topic])
    try:
        with broker_errors(f"reading offsets of {topic.name}"):
            raw = follower._raw
            beginnings, ends = raw.beginning_offsets(follower._tps), raw.end_offsets(follower._tps)
    finally:
        follower.close()
    return {tp.partition: (beginnings[tp], ends[tp]) for tp in follower._tps}
