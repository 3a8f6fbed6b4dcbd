"""An event travels as JSON with CloudEvents headers, and comes back as it was or not at all."""

import re

import pytest

from shared.envelope import decode, encode, event_headers, trace_parent
from shared.errors import UnreadableRecordError
from shared.events import Command, CommandKind, utc_now


def command() -> Command:
    return Command(
        command_id="c1", kind=CommandKind.ROLLBACK, target=None, who="ada", why="worse on Mondays", issued_at=utc_now()
    )


def test_an_event_survives_the_journey() -> None:
    event = command()
    assert decode(Command, encode(event), "here") == event


def test_headers_follow_cloudevents_and_trace_context() -> None:
    headers = dict(event_headers(command(), "tidemill.control"))
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"tidemill.control.command"
    assert headers["ce_source"] == b"/tidemill.control"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"].decode())


def test_a_given_trace_goes_on() -> None:
    given = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert trace_parent(dict(event_headers(command(), "x", given))) == given


@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", b"{}", b'{"event_version": 2}', encode(command()).replace(b"}", b',"extra":1}')]
)
def test_what_is_no_event_is_named_with_its_place(value: bytes | None) -> None:
    with pytest.raises(UnreadableRecordError, match=r"control\.commands\[0\]@7 is no Command"):
        decode(Command, value, "control.commands[0]@7")


def test_an_order_without_a_name_or_reason_is_refused() -> None:
    with pytest.raises(UnreadableRecordError, match="why"):
        decode(Command, encode(command()).replace(b"worse on Mondays", b""), "here")
