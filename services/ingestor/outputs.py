"""What the curator writes beside its events: the split that a review was assigned by, and rejected records."""

from collections.abc import Mapping

from services.ingestor.curator import Rejected
from shared.envelope import Headers
from shared.events import SplitRecord
from shared.provenance import DETAIL_HEADER, REASON_HEADER, SPLIT_HEADER, TRUNCATED_HEADER
from shared.topics import MAX_REVIEW_BYTES

SHORTENED_KEY_BYTES = 1024


def split_header(split: SplitRecord) -> tuple[str, bytes]:
    """Marks a curated review, labelled or not, with the split that it was assigned by."""
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
