"""Events as records: JSON values with CloudEvents headers (Kafka protocol binding, binary mode) and a W3C trace parent.

Sources: CloudEvents 1.0.2, Kafka Protocol Binding; W3C Trace Context, section 3.2.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import UnreadableRecordError
from shared.events import Event, new_id, utc_now

_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Headers = tuple[tuple[str, bytes], ...]
AnyEvent = TypeVar("AnyEvent", bound=BaseModel)


def encode(event: BaseModel) -> bytes:
    """The event as UTF-8 JSON."""
    return event.model_dump_json().encode()


def decode(model: type[AnyEvent], value: bytes | None, where: str) -> AnyEvent:
    """Reads an event that one of our own services wrote.

    Raises:
        UnreadableRecordError: The bytes are not that event; `where` names the record.
    """
    try:
        return model.model_validate_json(value or b"")
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise UnreadableRecordError(f"{where} is no {model.__name__} that this version can read: {reasons}") from error


def event_headers(event: Event, source: str, trace_parent: str | None = None) -> Headers:
    """CloudEvents attributes of one event as Kafka headers.

    Args:
        source: Which part of Tidemill speaks, e.g. `tidemill.windower`.
        trace_parent: The W3C trace to go on with; None starts one.
    """
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", new_id().encode()),
        ("ce_type", event.ce_type.encode()),
        ("ce_source", b"/" + source.encode()),
        ("ce_time", utc_now().isoformat().encode()),
        ("content-type", b"application/json"),
        ("traceparent", (trace_parent or new_trace_parent()).encode()),
    )


def new_trace_parent() -> str:
    """A fresh, sampled W3C trace parent."""
    return f"00-{new_id()}-{new_id()[:16]}-01"


def trace_parent(headers: Mapping[str, bytes]) -> str | None:
    """The trace parent that a record carries, if it is one: anybody may write headers."""
    value = headers.get("traceparent")
    return value.decode() if value and _TRACE_PARENT.fullmatch(value) else None
