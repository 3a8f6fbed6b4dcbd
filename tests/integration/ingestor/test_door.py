"""Whatever is published, by whichever client: one outcome each, and the service goes on."""

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer as ForeignProducer

from deploy.local.broker import Broker
from shared.errors import BrokerRefusedError, ConfigurationError
from shared.events import CommandKind, RejectionReason, SetAside, Trigger
from shared.provenance import ORIGIN_HEADER, REASON_HEADER, TRUNCATED_HEADER
from shared.topics import REVIEWS_LABELED
from tests.integration.ingestor.stream import Ingestor, Stream, review

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
POISON = [
    b"not json",
    b"[1, 2]",
    b"",
    b"\x00\xff\xfe binary \x80",
    json.dumps({"text": "\x00\x01\x02 control", "label": 1}).encode(),
    json.dumps({"text": "A film with an unknown label.", "label": "meh"}).encode(),
    b'{"text": "A film with no number as its label.", "label": NaN}',
    json.dumps({"text": "A film from the future.", "label": 1, "event_version": 2}).encode(),
]
REASONS = [
    RejectionReason.NOT_JSON,
    RejectionReason.WRONG_SHAPE,
    RejectionReason.EMPTY,
    RejectionReason.NOT_UTF8,
    RejectionReason.CONTROL_CHARACTERS,
    RejectionReason.UNKNOWN_LABEL,
    RejectionReason.UNKNOWN_LABEL,
    RejectionReason.FUTURE_VERSION,
]


def publish_with(stream: Stream, codec: str, values: list[bytes]) -> None:
    """By a client that is not ours, as one batch."""
    producer = ForeignProducer(
        {
            "bootstrap.servers": stream.settings.bootstrap_servers(),
            "compression.type": codec,
            "linger.ms": 200,
            "message.max.bytes": 64 * 1024 * 1024,
        }
    )
    refused: list[str] = []
    for value in values:
        producer.produce(
            REVIEWS_LABELED.full_name(stream.settings.stream.prefix),
            value,
            partition=0,
            on_delivery=lambda error, message: refused.append(str(error)) if error else None,
        )
    assert producer.flush(30) == 0
    assert refused == []


def test_poisoned_records_among_good_ones_are_rejected_with_their_reasons(stream: Stream) -> None:
    mixed = [value for number, poison in enumerate(POISON) for value in (review(number), poison)]
    publish_with(stream, "none", mixed)
    with Ingestor(stream.settings) as ingestor:
        ingestor.until(lambda: ingestor.judged() == len(mixed))
    rejected = stream.rejected()
    assert [record.value for record in rejected] == POISON
    assert [record.headers[REASON_HEADER].decode() for record in rejected] == REASONS
    assert [record.headers[ORIGIN_HEADER] for record in rejected][:2] == [b"0:1", b"0:3"]
    assert len(stream.curated()) == len(POISON)
    assert stream.audit().ok


@pytest.mark.parametrize("codec", CODECS)
def test_batches_of_every_codec_are_read(stream: Stream, codec: str) -> None:
    publish_with(stream, codec, [review(number) for number in range(50)])
    with Ingestor(stream.settings, cuts=False) as ingestor:
        ingestor.until(lambda: ingestor.judged() == 50)
    assert len(stream.curated()) == 50


def test_a_giant_that_only_its_compression_let_through_is_rejected_and_cut(stream: Stream) -> None:
    giant = json.dumps({"text": "a" * 20_000_000, "label": 1}).encode()
    publish_with(stream, "zstd", [giant, review(1)])
    with Ingestor(stream.settings, cuts=False) as ingestor:
        ingestor.until(lambda: ingestor.judged() == 2)
    [rejected] = stream.rejected()
    assert rejected.headers[REASON_HEADER] == b"too_long"
    assert rejected.headers[TRUNCATED_HEADER].startswith(b"%d bytes" % len(giant))
    assert stream.audit().ok


def test_ten_megabytes_are_refused_at_the_door_with_a_clear_error(stream: Stream) -> None:
    with pytest.raises(BrokerRefusedError, match=r"sending to .*reviews\.labeled: .*TooLarge"):
        stream.publish([b"x" * 10_000_000])


def test_an_id_that_comes_again_with_another_text_is_another_review(stream: Stream) -> None:
    stream.publish([review(1, id="same"), review(2, id="same"), review(2, id="same")])
    with Ingestor(stream.settings) as ingestor:
        ingestor.until(lambda: ingestor.seen() == 3)
        stream.order()
        ingestor.until(lambda: len(stream.windows()) == 1)
    [window] = stream.windows()
    assert (window.reviews, window.kept) == (3, 2)
    assert [row.reason for row in window.set_aside] == [SetAside.DUPLICATE]


def test_an_operator_closes_the_open_window_once(stream: Stream) -> None:
    """An order for an empty window has no effect, now or after a restart."""
    stream.order()
    stream.order(CommandKind.ROLLBACK)
    with Ingestor(stream.settings) as ingestor:
        ingestor.until(
            lambda: bool(ingestor.windower and not ingestor.windower._orders and ingestor.windower._producer)
        )
        stream.publish_reviews(5)
        ingestor.until(lambda: ingestor.seen() == 5)
    with Ingestor(stream.settings) as restarted:
        restarted.until(lambda: restarted.seen() == 5)
        assert stream.windows() == []
        stream.order()
        restarted.until(lambda: len(stream.windows()) == 1)
    [window] = stream.windows()
    assert (window.trigger, window.reviews) == (Trigger.OPERATOR, 5)
    assert window.trigger_detail.startswith("test: because")


def cut_one_window(stream: Stream) -> Path:
    """A closed window; returns its snapshot."""
    stream.publish_reviews(20)
    with Ingestor(stream.settings) as ingestor:
        ingestor.until(lambda: len(stream.windows()) == 1)
    assert stream.audit().ok
    return Path(stream.settings.archive_url) / stream.windows()[0].snapshot.path


def test_a_missing_snapshot_shows_in_the_audit(stream: Stream) -> None:
    cut_one_window(stream).unlink()
    report = stream.audit()
    assert not report.ok
    assert "is missing" in report.problems[0]


def test_an_altered_snapshot_shows_in_the_audit_and_stops_nobody(stream: Stream) -> None:
    snapshot = cut_one_window(stream)
    snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"?")
    assert "was altered" in stream.audit().problems[0]
    stream.publish_reviews(20, first=20)
    with Ingestor(stream.settings) as restarted:
        restarted.until(lambda: len(stream.windows()) == 2)


def test_a_split_other_than_the_streams_is_refused_at_start(stream: Stream, broker: Broker, home: Path) -> None:
    stream.publish_reviews(3)
    with Ingestor(stream.settings, cuts=False) as ingestor:
        ingestor.until(lambda: ingestor.judged() == 3)
    other = Stream(broker.bootstrap_servers, stream.settings.stream.prefix, home, split={"holdout_share": 450})
    for role in ({"cuts": False}, {"curates": False}):
        with pytest.raises(ConfigurationError, match="holdout_share was 200 and is now 450"):
            Ingestor(other.settings, **role)


def test_lost_offsets_are_found_again_from_the_outputs(stream: Stream) -> None:
    """The group's offsets are gone: curation goes on after the last output, windows after the last manifest."""
    cut_one_window(stream)
    stream.publish_reviews(20, first=20)
    stream.forget_offsets("curator", "windower")
    with Ingestor(stream.settings) as ingestor:
        ingestor.until(lambda: len(stream.windows()) == 2)
    report = stream.audit()
    assert (report.problems, report.curated, report.windowed) == ((), 40, 40)
