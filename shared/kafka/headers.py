"""Reads records whose header names are not UTF-8: the broker takes them from any client, kafka-python does not."""

from typing import Any

from kafka.record.default_records import DefaultRecordBatch

_read_strictly = DefaultRecordBatch._read_msg


class _LenientBytes(bytearray):
    """Bytes whose slices decode anything, with U+FFFD in place of what is not UTF-8."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _LenientBytes(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def _read_leniently(batch: Any) -> Any:
    try:
        return _read_strictly(batch)
    except UnicodeDecodeError:
        # Only header names are decoded there. The position moves with whole records, so this one is read again.
        batch._buffer = _LenientBytes(batch._buffer)
        return _read_strictly(batch)


def accept_any_header_name() -> None:
    """Makes consumers of this process read such records; twice is once.

    Otherwise kafka-python raises CorruptRecordError at one such record, at every poll and after every restart, and a
    user's header stops the stream. It offers no hook, hence the replaced method; other records take its own way.
    """
    DefaultRecordBatch._read_msg = _read_leniently
