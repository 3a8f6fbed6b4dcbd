"""Headers by which an output of the curator says where it came from and why; read by the audit and by people."""

from collections.abc import Mapping

from shared.errors import LedgerCorruptError

ORIGIN_HEADER = "tidemill_origin"
REASON_HEADER = "tidemill_reason"
DETAIL_HEADER = "tidemill_detail"
SPLIT_HEADER = "tidemill_split"
TRUNCATED_HEADER = "tidemill_truncated"


def origin_header(partition: int, offset: int) -> tuple[str, bytes]:
    """Marks an output with its record of `reviews.labeled`."""
    return ORIGIN_HEADER, b"%d:%d" % (partition, offset)


def read_origin(headers: Mapping[str, bytes], where: str) -> tuple[int, int]:
    """(partition, offset) in `reviews.labeled` of an output.

    Raises:
        LedgerCorruptError: The output has none, so no curator wrote it.
    """
    partition, _, offset = headers.get(ORIGIN_HEADER, b"").partition(b":")
    try:
        return int(partition), int(offset)
    except ValueError as error:
        raise LedgerCorruptError(f"{where} has no header {ORIGIN_HEADER}: no curator wrote it") from error
