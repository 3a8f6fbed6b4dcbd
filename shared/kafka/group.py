"""A member of a consumer group."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka import errors as kafka_errors

from shared.kafka.connection import open_consumer
from shared.kafka.failures import RebalancedError, broker_errors
from shared.kafka.records import Partition, Record, poll, positions
from shared.settings import Settings
from shared.topics import Topic

log = structlog.get_logger("kafka")

StartOffset = Callable[[Partition, int, int], int]
"""(partition, beginning, end) -> where to start reading when the group has no usable offset there."""


def from_beginning(partition: Partition, beginning: int, end: int) -> int:
    """Starts at the oldest record that is still there."""
    return beginning


class _Assignments(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts changes of assignment, so that state built under an older one can be dropped."""

    def __init__(self) -> None:
        self.generation = 0

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.generation += 1

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.generation += 1


class GroupConsumer:
    """A member of a consumer group. Offsets move only inside a producer's transaction, by `commit`, or when placed."""

    def __init__(self, settings: Settings, role: str, topics: Iterable[Topic], start: StartOffset) -> None:
        """Joins the group `PREFIX.ROLE` on its first poll.

        Args:
            start: Says where to read when the group has no offset, or one that is no longer there.

        Raises:
            BrokerUnavailableError: Kafka did not answer.
        """
        self._settings, self._role, self._start = settings, role, start
        self._assignments = _Assignments()
        self._membership: Any = None
        self._raw = open_consumer(settings, role, settings.stream.identity(role))
        names = [topic.full_name(settings.stream.prefix) for topic in topics]
        self._raw.subscribe(names, listener=self._assignments)
        with broker_errors(f"looking up {names}"):
            # A leader that assigns before it knows the partitions gives nothing to anybody, and may never correct it.
            for name in names:
                self._raw.partitions_for_topic(name)

    @property
    def generation(self) -> int:
        """Changes whenever partitions come or go."""
        return self._assignments.generation

    @property
    def assignment(self) -> frozenset[Partition]:
        """The partitions that are ours now."""
        return frozenset((tp.topic, tp.partition) for tp in self._raw.assignment())

    def poll(self, seconds: float | None = None) -> list[Record]:
        """Waits for records at most `seconds` (default: the setting). Also keeps the membership alive."""
        wait = self._settings.kafka.poll_seconds if seconds is None else seconds
        with broker_errors(f"polling as {self._role}"):
            try:
                records = poll(self._raw, wait)
            except kafka_errors.NoOffsetForPartitionError as error:
                records = self._place(dict.fromkeys(error.args[0]))
            except kafka_errors.OffsetOutOfRangeError as error:
                records = self._place(error.args[0])
        self._membership = self._raw.group_metadata()
        return records

    def _place(self, lost: Mapping[TopicPartition, int | None]) -> list[Record]:
        """Seeks every partition without a usable offset to where `start` says, for good; there are no records yet."""
        beginnings = self._raw.beginning_offsets(list(lost))
        ends = self._raw.end_offsets(list(lost))
        placed: dict[Partition, int] = {}
        for tp, offset in lost.items():
            start = self._start((tp.topic, tp.partition), beginnings[tp], ends[tp])
            level = log.info if offset is None else log.warning
            level("offset_placed", topic=tp.topic, partition=tp.partition, had=offset, start=start)
            self._raw.seek(tp, start)
            placed[(tp.topic, tp.partition)] = start
        # Or a later rewind would place them anew, perhaps behind what was read meanwhile and not carried out.
        self.commit(placed)
        return []

    def rewind(self) -> None:
        """Goes back to what the group has committed, as after a restart."""
        with broker_errors(f"rewinding {self._role}"):
            unplaced: dict[TopicPartition, int | None] = {}
            for tp in self._raw.assignment():
                committed = self._raw.committed(tp)
                if committed is None:
                    unplaced[tp] = None
                else:
                    self._raw.seek(tp, committed)
            if unplaced:
                self._place(unplaced)

    def seek(self, partition: Partition, offset: int) -> None:
        """Reads on from `offset`."""
        self._raw.seek(TopicPartition(*partition), offset)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commits positions (last processed + 1) outside any transaction.

        Raises:
            RebalancedError: The partitions are no longer ours.
        """
        with broker_errors(f"committing offsets of {self._role}"):
            self._raw.commit(positions(offsets))

    def pause(self) -> None:
        """Polls return nothing until `resume`; the membership goes on."""
        self._raw.pause(*self._raw.assignment())

    def resume(self) -> None:
        """Ends a pause."""
        self._raw.resume(*self._raw.paused())

    def lag(self) -> dict[Partition, int]:
        """Committed records that this member has not read yet, by partition. Transaction markers count too."""
        tps = list(self._raw.assignment())
        if not tps:
            return {}
        with broker_errors(f"measuring the lag of {self._role}"):
            ends = self._raw.end_offsets(tps)
            return {(tp.topic, tp.partition): max(0, ends[tp] - self._position(tp)) for tp in tps}

    def _position(self, tp: TopicPartition) -> int:
        try:
            return self._raw.position(tp) or 0
        except kafka_errors.NoOffsetForPartitionError:
            return 0  # assigned, but the poll that places it is still to come

    def group_metadata(self) -> Any:
        """Membership as of the last poll, for fencing transactions (KIP-447).

        Raises:
            RebalancedError: We are not in the group; the broker would take such a membership for no group at all.
        """
        # The heartbeat thread clears the live one when the group drops us, and empty means "do not fence".
        if self._membership is None or self._membership.generation_id < 0:
            raise RebalancedError(f"{self._role} is not a member of its group")
        return self._membership

    def close(self) -> None:
        """Leaves the group at once."""
        self._raw.close(autocommit=False, timeout_ms=2000)
