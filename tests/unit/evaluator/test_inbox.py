"""Every record that was read is carried out once, in order, whatever the group does meanwhile."""

from typing import Any
from unittest.mock import create_autospec

import pytest

from services.evaluator.inbox import MOST_WAITING, Inbox, read_event
from shared.envelope import encode
from shared.errors import BrokerUnavailableError
from shared.events import Candidate
from shared.kafka import GroupConsumer, Record
from tests.unit.evaluator.builders import NOW, candidate


def record(offset: int, topic: str = "models.candidates", value: bytes = b"{}") -> Record:
    return Record(topic, 0, offset, NOW, None, value, {})


def inbox(*polls: list[Record] | Exception) -> tuple[Inbox, Any]:
    consumer = create_autospec(GroupConsumer, instance=True)
    consumer.poll.side_effect = polls
    consumer.generation = 1
    return Inbox(consumer), consumer


def test_records_come_in_order_and_by_topic() -> None:
    found, _ = inbox([record(1), record(1, "control.commands"), record(2)])
    assert found.read()
    assert found.first("control.commands") == record(1, "control.commands")
    assert found.first("models.candidates") == record(1)
    found.done(record(1))
    assert found.first("models.candidates") == record(2)
    assert found.first("servers.state") is None


def test_what_a_rewind_brings_again_is_there_once() -> None:
    found, _ = inbox([record(1), record(2)], [record(1), record(2), record(3)])
    found.read()
    found.read()
    for offset in (1, 2, 3):
        assert found.first("models.candidates") == record(offset)
        found.done(record(offset))
    assert found.first("models.candidates") is None


def test_partitions_that_come_or_go_take_everything_with_them() -> None:
    found, consumer = inbox([record(1)], [record(7)])
    assert found.read()
    consumer.generation = 2
    assert not found.read()
    assert found.first("models.candidates") == record(7)


def test_partitions_that_went_in_a_poll_that_failed_are_noticed_by_the_next() -> None:
    found, consumer = inbox([record(1)], BrokerUnavailableError("gone"), [])
    found.read()
    consumer.generation = 2
    with pytest.raises(BrokerUnavailableError):
        found.read()
    assert not found.read()
    assert found.first("models.candidates") is None


def test_no_more_is_read_than_is_carried_out() -> None:
    found, consumer = inbox([record(offset) for offset in range(MOST_WAITING)], [])
    found.read()
    consumer.pause.assert_called_once_with()
    found.done(record(0))
    found.read()
    consumer.resume.assert_called_once_with()


def test_what_is_no_event_is_none() -> None:
    assert read_event(Candidate, record(0, value=encode(candidate(0)))) == candidate(0)
    assert read_event(Candidate, record(0, value=b'{"event_version": 2}')) is None
