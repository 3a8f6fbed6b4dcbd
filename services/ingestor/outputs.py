"""What the curator writes besides the events: headers that say where an output came from, and rejected records."""

from collections.abc import Mapping

from services.ingestor.curator import Rejected
from shared.envelope import Headers
from shared.errors import LedgerCorruptError
from shared.events import SplitRecord
from shared.topics import MAX_REVIEW_BYTES

ORIGIN_HEADER = "tidemill_origin"
REASON_HEADER = "tidemill_reason"
DETAIL_HEADER = "tidemill_detail"
SPLIT_HEADER = "tidemill_split"
TRUNCATED_HEADER = "tidemill_truncated"
SHORTENED_KEY_BYTES = 1024


def origin_header(partition: int, offset: int) -> tuple[str, bytes]:
    """Marks an output with its record of `reviews.labeled`."""
    return ORIGIN_HEADER, b"%d:%d" % (partition, offset)


def read_origin(headers: Mapping[str, bytes], where: str) -> tuple[int, int]:
    """(partition, offset) in `reviews.labeled` of an output.

    Raises:
        LedgerCorruptError: The output has none, so it was not written by a curator.
    """
    partition, _, offset = headers.get(ORIGIN_HEADER, b"").partition(b":")
    try:
        return int(partition), int(offset)
    except ValueError as error:
        raise LedgerCorruptError(f"{where} has no header {ORIGIN_HEADER}: no curator wrote it") from error


def split_header(split: SplitRecord) -> tuple[str, bytes]:
    """Marks a curated review with the split that it was assigned by."""
    return SPLIT_HEADER, split.model_dump_json().encode()


def rejected_record(
    key: bytes | None, value: bytes | None, headers: Mapping[str, bytes], origin: tuple[str, bytes], rejected: Rejected
) -> tuple[bytes | None, bytes | None, Headers]:
    """(key, value, headers) for `reviews.rejected`: the original untouched, the reason in headers.

    What only fitted through the broker's limit because it was compressed is cut, and a header says so.
    """
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers.items())
    ours = (
        (REASON_HEADER, rejected.reason.value.encode()),
        (DETAIL_HEADER, rejected.detail.encode(errors="replace")),
        origin,
    )
    if size <= MAX_REVIEW_BYTES:
        return key, value, (*headers.items(), *ours)
    cut = (TRUNCATED_HEADER, b"%d bytes; key, value and headers were cut" % size)
    return key and key[:SHORTENED_KEY_BYTES], value and value[: MAX_REVIEW_BYTES // 2], (*ours, cut)
