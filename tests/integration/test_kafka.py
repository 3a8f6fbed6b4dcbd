"""What `shared.kafka` promises, asked of a real broker."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from deploy.local.broker import Broker
from shared.errors import BrokerRefusedError, BrokerUnavailableError, FencedError
from shared.kafka import (
    Admin,
    Follower,
    GroupConsumer,
    Producer,
    RebalancedError,
    Record,
    TransactionalProducer,
    from_beginning,
    iterate_topic,
    next_offsets,
    offset_range,
    read_range,
    read_topic,
)
from shared.settings import Settings, load_settings
from shared.topics import (
    ALL_TOPICS,
    CONTROL_COMMANDS,
    MAX_REVIEW_BYTES,
    REVIEWS_CURATED,
    REVIEWS_LABELED,
    REVIEWS_REJECTED,
    Topic,
)

POLLS = 200


class Closing(Protocol):
    def close(self) -> None: ...


Kept = TypeVar("Kept", bound=Closing)


def settings_for(bootstrap_servers: str, prefix: str, **kafka: object) -> Settings:
    """Settings of a stream of its own, quick to rebalance."""
    quick = {"bootstrap_servers": bootstrap_servers, "heartbeat_seconds": 0.2, "poll_seconds": 0.1}
    return load_settings(stream={"prefix": prefix}, kafka=quick | kafka)


@pytest.fixture
def settings(broker: Broker, topic_prefix: str) -> Settings:
    settings = settings_for(broker.bootstrap_servers, topic_prefix)
    create_topics(settings)
    return settings


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield stack


def create_topics(settings: Settings) -> list[str]:
    admin = Admin(settings)
    try:
        return admin.create_topics()
    finally:
        admin.close()


def keep(opened: ExitStack, kept: Kept) -> Kept:
    opened.callback(kept.close)
    return kept


def publish(settings: Settings, topic: Topic, values: list[bytes], key: bytes | None = None) -> None:
    producer = Producer(settings, "publisher")
    deliveries = [producer.send_bytes(topic, key, value) for value in values]
    for delivery in deliveries:
        delivery.wait(30)
    producer.close()


def poll_until(consumer: GroupConsumer, enough: Callable[[list[Record]], bool]) -> list[Record]:
    records: list[Record] = []
    for _ in range(POLLS):
        records += consumer.poll()
        if enough(records):
            return records
    raise AssertionError(f"only {len(records)} records after {POLLS} polls")


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def copy(
    consumer: GroupConsumer,
    producer: TransactionalProducer,
    records: list[Record],
    last: Callable[[], object] = lambda: None,
) -> None:
    """One transaction that copies records to `reviews.curated` and does `last` before it commits."""
    with producer.transaction(consumer) as transaction:
        for record in records:
            transaction.send_bytes(REVIEWS_CURATED, record.key, record.value, ())
        transaction.send_offsets(next_offsets(records))
        last()


class Boom(Exception):
    """Something went wrong in the middle."""


def fail() -> None:
    raise Boom


def write(producer: TransactionalProducer, value: bytes, last: Callable[[], object] = lambda: None) -> None:
    """One transaction of one record."""
    with producer.transaction() as transaction:
        transaction.send_bytes(REVIEWS_CURATED, None, value, ())
        last()


def labeled_reader(settings: Settings, opened: ExitStack) -> GroupConsumer:
    return keep(opened, GroupConsumer(settings, "copier", [REVIEWS_LABELED], from_beginning))


def writer(settings: Settings, opened: ExitStack, role: str = "copier.0") -> TransactionalProducer:
    return keep(opened, TransactionalProducer(settings, role))


def test_topics_are_created_once_with_their_partitions(broker: Broker, topic_prefix: str) -> None:
    settings = settings_for(broker.bootstrap_servers, topic_prefix)
    first, second = create_topics(settings), create_topics(settings)
    admin = Admin(settings)
    assert (len(first), second) == (len(ALL_TOPICS), [])
    assert [admin.partitions(REVIEWS_LABELED), admin.partitions(REVIEWS_CURATED)] == [3, 1]
    admin.close()


def test_outputs_and_positions_appear_together(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_LABELED, [b"a", b"b", b"c"], key=b"k")
    consumer, producer = labeled_reader(settings, opened), writer(settings, opened)
    records = poll_until(consumer, lambda seen: len(seen) == 3)
    copy(consumer, producer, records)
    admin = keep(opened, Admin(settings))
    assert values(read_topic(settings, "test", REVIEWS_CURATED)) == [b"a", b"b", b"c"]
    assert admin.group_offsets("copier").items() >= next_offsets(records).items()


def test_an_error_in_a_transaction_leaves_nothing_and_reads_again(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_LABELED, [b"a", b"b"], key=b"k")
    consumer, producer = labeled_reader(settings, opened), writer(settings, opened)
    records = poll_until(consumer, lambda seen: len(seen) == 2)
    with pytest.raises(Boom):
        copy(consumer, producer, records, last=fail)
    again = poll_until(consumer, lambda seen: len(seen) == 2)
    copy(consumer, producer, again)
    assert values(again) == [b"a", b"b"]
    assert values(read_topic(settings, "test", REVIEWS_CURATED)) == [b"a", b"b"]


def test_rewinding_goes_back_to_the_committed_position_only(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_LABELED, [b"a"], key=b"k")
    consumer, producer = labeled_reader(settings, opened), writer(settings, opened)
    copy(consumer, producer, poll_until(consumer, lambda seen: len(seen) == 1))
    publish(settings, REVIEWS_LABELED, [b"b"], key=b"k")
    first = poll_until(consumer, lambda seen: len(seen) == 1)
    consumer.rewind()
    second = poll_until(consumer, lambda seen: len(seen) == 1)
    assert values(first) == values(second) == [b"b"]


def test_a_newer_instance_fences_the_older_whose_work_stays_invisible(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_LABELED, [b"a"], key=b"k")
    consumer, older = labeled_reader(settings, opened), TransactionalProducer(settings, "copier.0")
    records = poll_until(consumer, lambda seen: len(seen) == 1)
    newer: list[TransactionalProducer] = []
    with pytest.raises(FencedError):
        copy(consumer, older, records, last=lambda: newer.append(writer(settings, opened)))
    consumer.rewind()
    copy(consumer, newer[0], poll_until(consumer, lambda seen: len(seen) == 1))
    assert values(read_topic(settings, "test", REVIEWS_CURATED)) == [b"a"]


def test_a_successor_takes_over_what_a_dead_instance_left_open(settings: Settings, opened: ExitStack) -> None:
    """A transaction that nobody will end is aborted by the next instance, and readers are not held up."""
    dead = TransactionalProducer(settings, "copier.0")
    stack = ExitStack()
    transaction = stack.enter_context(dead.transaction())
    transaction.send_bytes(REVIEWS_CURATED, None, b"never committed", ())
    dead._producer.flush()
    write(writer(settings, opened), b"committed")
    assert values(read_topic(settings, "test", REVIEWS_CURATED)) == [b"committed"]
    with pytest.raises(FencedError):
        stack.close()


def test_a_member_that_lost_its_partitions_cannot_commit(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_LABELED, [b"a"])
    left = GroupConsumer(settings, "copier", [REVIEWS_LABELED], from_beginning)
    records = poll_until(left, lambda seen: len(seen) == 1)
    left._raw._coordinator.maybe_leave_group()
    with pytest.raises(RebalancedError):
        copy(left, writer(settings, opened), records)
    left.close()
    assert read_topic(settings, "test", REVIEWS_CURATED) == []


def test_the_generation_changes_when_another_member_joins(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_LABELED, [b"a"], key=b"k")
    first = labeled_reader(settings, opened)
    poll_until(first, lambda seen: len(seen) == 1)
    before, alone = first.generation, first.assignment
    second = labeled_reader(settings, opened)
    for _ in range(POLLS):
        first.poll(), second.poll()
        if second.assignment and len(first.assignment) + len(second.assignment) == 3:
            break
    assert len(alone) == 3
    assert first.generation > before
    assert first.assignment.isdisjoint(second.assignment)


def test_a_member_without_an_offset_starts_where_it_is_told(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_CURATED, [b"0", b"1", b"2"])
    asked: list[tuple[int, int]] = []

    def start(partition: tuple[str, int], beginning: int, end: int) -> int:
        asked.append((beginning, end))
        return end - 1

    consumer = keep(opened, GroupConsumer(settings, "copier", [REVIEWS_CURATED], start))
    assert values(poll_until(consumer, bool)) == [b"2"]
    assert asked == [(0, 3)]


def test_a_position_that_retention_took_is_placed_again(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_CURATED, [b"0", b"1", b"2"])
    consumer = keep(opened, GroupConsumer(settings, "copier", [REVIEWS_CURATED], from_beginning))
    poll_until(consumer, lambda seen: len(seen) == 3)
    consumer.seek((REVIEWS_CURATED.full_name(settings.stream.prefix), 0), 99)
    assert values(poll_until(consumer, bool)) == [b"0", b"1", b"2"]


def test_a_paused_member_stays_and_reads_on_afterwards(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_CURATED, [b"0"])
    consumer = keep(opened, GroupConsumer(settings, "copier", [REVIEWS_CURATED], from_beginning))
    poll_until(consumer, bool)
    generation = consumer.generation
    consumer.pause()
    publish(settings, REVIEWS_CURATED, [b"1"])
    assert [consumer.poll() for _ in range(5)] == [[]] * 5
    consumer.resume()
    assert values(poll_until(consumer, bool)) == [b"1"]
    assert consumer.generation == generation


def test_lag_counts_what_is_not_read_yet(settings: Settings, opened: ExitStack) -> None:
    publish(settings, REVIEWS_CURATED, [b"0"])
    consumer = keep(opened, GroupConsumer(settings, "copier", [REVIEWS_CURATED], from_beginning))
    poll_until(consumer, bool)
    consumer.pause()
    publish(settings, REVIEWS_CURATED, [b"1", b"2"])
    assert list(consumer.lag().values()) == [2]


def test_followers_pass_transaction_markers_and_aborted_records(settings: Settings, opened: ExitStack) -> None:
    """Markers take offsets: reading to the end must not wait for records that do not exist."""
    producer = writer(settings, opened)
    for number in range(3):
        write(producer, b"%d" % number)
    with pytest.raises(Boom):
        write(producer, b"aborted", last=fail)
    follower = keep(opened, Follower(settings, "test", [REVIEWS_CURATED, CONTROL_COMMANDS]))
    assert values(list(follower.catch_up())) == [b"0", b"1", b"2"]
    assert list(follower.catch_up()) == []
    publish(settings, CONTROL_COMMANDS, [b"new"])
    assert values(list(follower.catch_up())) == [b"new"]


def test_a_range_is_read_by_its_offsets(settings: Settings, opened: ExitStack) -> None:
    producer = writer(settings, opened)
    for number in range(3):
        write(producer, b"%d" % number)
    assert [record.offset for record in read_range(settings, "test", REVIEWS_CURATED, 0, 1, 4)] == [2, 4]
    assert offset_range(settings, REVIEWS_CURATED) == {0: (0, 6)}


def test_reading_a_topic_that_does_not_exist_says_so(broker: Broker, topic_prefix: str) -> None:
    settings = settings_for(broker.bootstrap_servers, topic_prefix)
    with pytest.raises(BrokerRefusedError, match="does not exist; create topics"):
        list(iterate_topic(settings, "test", REVIEWS_CURATED))


def test_a_review_of_10_mb_is_refused_by_the_broker_and_by_the_producer(settings: Settings, broker: Broker) -> None:
    careless = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, max_request_size=64 * 1024 * 1024)
    future = careless.send(REVIEWS_LABELED.full_name(settings.stream.prefix), b"x" * 10_000_000)
    with pytest.raises(KafkaError, match="MessageSizeTooLarge"):
        future.get(30)
    careless.close()
    with pytest.raises(BrokerRefusedError, match=r"reviews\.labeled.*TooLarge"):
        publish(settings, REVIEWS_LABELED, [b"x" * 10_000_000])


def test_the_largest_review_fits_among_the_rejected(settings: Settings, opened: ExitStack) -> None:
    value = b"x" * (MAX_REVIEW_BYTES - 1000)
    with writer(settings, opened).transaction() as transaction:
        headers = (("tidemill_detail", b"d" * 2000), ("original", b"h" * 50_000))
        transaction.send_bytes(REVIEWS_REJECTED, b"k" * 1000, value, headers)
    assert values(read_topic(settings, "test", REVIEWS_REJECTED)) == [value]


def test_an_address_where_nobody_listens_is_named(topic_prefix: str) -> None:
    settings = settings_for("127.0.0.1:1", topic_prefix, bootstrap_timeout_seconds=0.5)
    for connect in (lambda: Admin(settings), lambda: Producer(settings, "test")):
        with pytest.raises(BrokerUnavailableError, match="127.0.0.1:1"):
            connect()


def test_a_transaction_begun_while_the_broker_is_down_ends_well(
    tmp_path: Path, topic_prefix: str, opened: ExitStack
) -> None:
    """kafka-python loses a transactional request to an unreachable coordinator for ever; ours must not."""
    broker = opened.enter_context(Broker(tmp_path / "kafka"))
    settings = settings_for(broker.bootstrap_servers, topic_prefix, bootstrap_timeout_seconds=30.0)
    create_topics(settings)
    publish(settings, REVIEWS_LABELED, [b"%d" % number for number in range(20)], key=b"k")
    consumer, producer = labeled_reader(settings, opened), writer(settings, opened)
    records = poll_until(consumer, lambda seen: len(seen) == 20)
    copy(consumer, producer, records[:10])
    broker.kill()
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(copy, consumer, producer, records[10:])
        broker.start()  # in this thread: a broker dies with the thread that started it
        copying.result(timeout=50)
    assert values(read_topic(settings, "test", REVIEWS_CURATED)) == [b"%d" % number for number in range(20)]


def test_reading_to_the_end_gives_up_when_the_broker_dies_in_between(
    tmp_path: Path, topic_prefix: str, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a service that folds a ledger at start would wait for ever, and say nothing."""
    broker = opened.enter_context(Broker(tmp_path / "kafka"))
    settings = settings_for(broker.bootstrap_servers, topic_prefix, request_timeout_seconds=1.5)
    create_topics(settings)
    publish(settings, REVIEWS_LABELED, [b"x"])
    follower = Follower(settings, "reader", [REVIEWS_LABELED])
    opened.callback(follower.close)

    def killing_poll(seconds: float = 0.1) -> list[Record]:
        if broker.pid:
            broker.kill()
        return []

    monkeypatch.setattr(follower, "poll", killing_poll)
    with pytest.raises(BrokerUnavailableError, match="to the end"):
        list(follower.catch_up())
