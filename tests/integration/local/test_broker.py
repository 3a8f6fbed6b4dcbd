"""The embedded Kafka keeps what it was given, whatever happens to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from deploy.local import ports
from deploy.local.broker import Broker
from shared.errors import UnreachableError

TOPIC = "t"


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        admin.create_topics([NewTopic(TOPIC, 1, 1)])
        admin.close()
        yield broker


def publish(broker: Broker, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")
    producer.send(TOPIC, value).get(20)
    producer.close()


def values(broker: Broker) -> list[bytes]:
    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=1000
    )
    found = [record.value for record in consumer]
    consumer.close()
    return found


def test_acknowledged_records_survive_a_stop_and_a_kill(own_broker: Broker) -> None:
    publish(own_broker, b"before the stop")
    own_broker.stop()
    own_broker.start()
    publish(own_broker, b"before the kill")
    own_broker.kill()
    own_broker.start()
    assert values(own_broker) == [b"before the stop", b"before the kill"]


def test_a_stopped_broker_comes_back_on_other_ports_with_its_data(own_broker: Broker) -> None:
    publish(own_broker, b"kept")
    own_broker.stop()
    with Broker(own_broker.layout.home) as moved:
        assert moved.layout.port != own_broker.layout.port
        assert values(moved) == [b"kept"]


def test_two_brokers_do_not_share_their_data(own_broker: Broker) -> None:
    second = Broker(own_broker.layout.home)
    with pytest.raises(UnreachableError, match="did not start"):
        second.start()
    assert not ports.is_open(second.layout.port)
