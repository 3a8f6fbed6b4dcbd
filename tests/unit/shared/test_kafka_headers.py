"""A header's name is any client's bytes: none may keep its record, or the ones beside it, from being read."""

import gzip
import struct

import pytest
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from shared.kafka.headers import accept_any_header_name

CODECS = {"none": 0, "gzip": 1}
NAME = "header-name"
NOT_UTF8 = b"h\xe9ader-nam\xff"
CRC_AT, CRC_BEGINS = 17, 21


def batch(name: bytes, codec: int = 0, records: int = 3) -> bytes:
    """Records as another client sends them, the second with a header of this name."""
    plain = _built(0, records)
    if codec == 0:
        return _with_crc(plain.replace(NAME.encode(), name))
    packed = _built(codec, records)
    body = struct.calcsize(">qiibIhiqqqhii")
    changed = packed[:body] + gzip.compress(plain[body:].replace(NAME.encode(), name))
    return _with_crc(changed[:8] + struct.pack(">i", len(changed) - 12) + changed[12:])


def _built(codec: int, records: int) -> bytes:
    builder = MemoryRecordsBuilder(magic=2, compression_type=codec, batch_size=1 << 20)
    for number in range(records):
        headers = [(NAME, b"value"), ("other", None)] if number == 1 else []
        builder.append(timestamp=number, key=b"key", value=b"%d" % number, headers=headers)
    builder.close()
    return bytes(builder.buffer())


def _with_crc(data: bytes) -> bytes:
    return data[:CRC_AT] + struct.pack(">I", calc_crc32c(data[CRC_BEGINS:])) + data[CRC_BEGINS:]


@pytest.mark.parametrize("codec", CODECS)
def test_a_name_that_is_not_utf8_is_read_with_marks_in_its_place(codec: str) -> None:
    accept_any_header_name()
    read = MemoryRecords(batch(NOT_UTF8, CODECS[codec])).next_batch()
    assert read.validate_crc()
    records = list(read)
    assert [record.value for record in records] == [b"0", b"1", b"2"]
    assert records[1].headers == [("h\ufffdader-nam\ufffd", b"value"), ("other", None)]


def test_any_other_record_is_read_as_before() -> None:
    accept_any_header_name()
    records = list(MemoryRecords(batch(NAME.encode())).next_batch())
    assert [record.headers for record in records] == [[], [(NAME, b"value"), ("other", None)], []]
