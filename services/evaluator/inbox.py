"""What was read of a group's topics and is not carried out yet."""

from collections import deque

import structlog

from shared.envelope import AnyEvent, decode
from shared.errors import UnreadableRecordError
from shared.kafka import GroupConsumer, Record

log = structlog.get_logger("inbox")

# Records of one topic in memory beyond which no more are read, of any. An order behind them is read later.
MOST_WAITING = 100


class Inbox:
    """The consumer's records by topic, in order, each until its position is committed."""

    def __init__(self, consumer: GroupConsumer) -> None:
        self._consumer, self._generation = consumer, consumer.generation
        self._queues: dict[str, deque[Record]] = {}

    def read(self) -> bool:
        """Polls once; False if partitions came or went: all is forgotten, and what is still ours is read again."""
        records = self._consumer.poll()
        # Compared with the last poll that came to its end: one that failed may have changed the assignment, too.
        stayed, self._generation = self._consumer.generation == self._generation, self._consumer.generation
        if not stayed:
            self._queues.clear()
        for record in records:
            queue = self._queues.setdefault(record.topic, deque())
            # An aborted transaction has rewound the consumer to what is still in the queue.
            if not queue or record.offset > queue[-1].offset:
                queue.append(record)
        if any(len(queue) >= MOST_WAITING for queue in self._queues.values()):
            self._consumer.pause()
        else:
            self._consumer.resume()
        return stayed

    def first(self, topic: str) -> Record | None:
        """The oldest record of a topic."""
        queue = self._queues.get(topic)
        return queue[0] if queue else None

    def done(self, record: Record) -> None:
        """Takes off a topic's oldest record, whose position is committed."""
        self._queues[record.topic].popleft()


def read_event(model: type[AnyEvent], record: Record) -> AnyEvent | None:
    """The event, or None for what this version cannot read: it must not stop what comes after it."""
    try:
        return decode(model, record.value, record.where())
    except UnreadableRecordError as error:
        log.error("record_passed_over", error=str(error))
        return None
