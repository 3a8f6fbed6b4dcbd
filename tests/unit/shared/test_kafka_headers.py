"""A header's name is any client's bytes: none may keep its record, or the ones beside it, from being read."""

import gzip
import struct

import pytest
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from shared.kafka.headers import accept_any_header_name

NAME = "header-name"
NOT_UTF8 = b"h\xe9ader-nam\xff"
LENGTH_AT, CRC_AT, CRC_BEGINS, RECORDS_BEGIN = 8, 17, 21, 61
GZIP = struct.pack(">h", 1)


def batch(name: bytes) -> bytes:
    """Three records as another client sends them, the second with a header of this name."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1 << 20)
    for number in range(3):
        headers = [(NAME, b"value"), ("other", None)] if number == 1 else []
        builder.append(timestamp=number, key=b"key", value=b"%d" % number, headers=headers)
    builder.close()
    return _with_crc(bytes(builder.buffer()).replace(NAME.encode(), name))


def compressed(plain: bytes) -> bytes:
    """The same batch in gzip."""
    attributes = GZIP + plain[CRC_BEGINS + len(GZIP) : RECORDS_BEGIN]
    data = plain[:CRC_BEGINS] + attributes + gzip.compress(plain[RECORDS_BEGIN:])
    length = struct.pack(">i", len(data) - LENGTH_AT - 4)
    return _with_crc(data[:LENGTH_AT] + length + data[LENGTH_AT + 4 :])


def _with_crc(data: bytes) -> bytes:
    return data[:CRC_AT] + struct.pack(">I", calc_crc32c(data[CRC_BEGINS:])) + data[CRC_BEGINS:]


@pytest.mark.parametrize("data", [batch(NOT_UTF8), compressed(batch(NOT_UTF8))], ids=["plain", "gzip"])
def test_a_name_that_is_not_utf8_is_read_with_marks_in_its_place(data: bytes) -> None:
    accept_any_header_name()
    read = MemoryRecords(data).next_batch()
    assert read.validate_crc()
    records = list(read)
    assert [record.value for record in records] == [b"0", b"1", b"2"]
    assert records[1].headers == [("h\ufffdader-nam\ufffd", b"value"), ("other", None)]


def test_any_other_record_is_read_as_before() -> None:
    accept_any_header_name()
    records = list(MemoryRecords(batch(NAME.encode())).next_batch())
    assert [record.headers for record in records] == [[], [(NAME, b"value"), ("other", None)], []]
