"""A record as read, and positions in partitions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read. `topic` is the full name, prefix included."""

    topic: str
    partition: int
    offset: int
    published_at: datetime
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def where(self) -> str:
        """The record's address, for messages."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


def _record(raw: Any) -> Record:
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        published_at=datetime.fromtimestamp(raw.timestamp / 1000, UTC),
        key=raw.key,
        value=raw.value,
        headers={name: value or b"" for name, value in raw.headers or ()},
    )


def poll(consumer: KafkaConsumer, seconds: float) -> list[Record]:
    batches = consumer.poll(timeout_ms=int(seconds * 1000))
    return [_record(raw) for batch in batches.values() for raw in batch]


def next_offsets(records: Iterable[Record]) -> dict[Partition, int]:
    """The positions after these records: the highest offset of each partition + 1."""
    positions: dict[Partition, int] = {}
    for record in records:
        partition = (record.topic, record.partition)
        positions[partition] = max(positions.get(partition, 0), record.offset + 1)
    return positions


def positions(offsets: Mapping[Partition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    # A plain int instead of OffsetAndMetadata makes kafka-python hang for ever.
    return {TopicPartition(*partition): OffsetAndMetadata(offset) for partition, offset in offsets.items()}
