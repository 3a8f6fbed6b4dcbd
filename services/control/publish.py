"""`tidemill publish`: reviews from a file or standard input to `reviews.labeled`."""

import csv
import json
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from services.control.session import RefusedError
from shared.kafka import Producer
from shared.settings import Settings
from shared.topics import MAX_REVIEW_BYTES, REVIEWS_LABELED

FIELDS = ("text", "label", "id", "split", "source", "created_at", "prediction_id")
# Kafka's record overhead, headers and key come on top of the value within the topic's limit.
OVERHEAD_BYTES = 1024
IN_FLIGHT = 10_000
FLUSH_SECONDS = 60.0


class FileFormat(StrEnum):
    """What `publish` reads."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass
class Tally:
    """What became of the rows. Callbacks count from the producer's thread."""

    sent: int = 0
    acknowledged: int = 0
    lost: int = 0
    refused: list[str] = field(default_factory=list)
    broke_off: RefusedError | None = None

    def settle(self, delivered: bool) -> None:
        """Counts one record's fate."""
        if delivered:
            self.acknowledged += 1
        else:
            self.lost += 1


def format_of(path: str, given: FileFormat | None) -> FileFormat:
    """The file's format: as given, else by its ending.

    Raises:
        RefusedError: Neither tells.
    """
    if given is not None:
        return given
    endings = {".jsonl": FileFormat.JSONL, ".ndjson": FileFormat.JSONL, ".json": FileFormat.JSONL}
    endings |= {".csv": FileFormat.CSV, ".parquet": FileFormat.PARQUET}
    try:
        return endings[Path(path).suffix.lower()]
    except KeyError:
        raise RefusedError(f"cannot tell the format of {path!r}; give --format jsonl, csv or parquet") from None


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """`text=review` pairs -> {field: column}.

    Raises:
        RefusedError: A pair without '=', or a field that a review does not have.
    """
    mapping = {}
    for pair in pairs:
        name, separator, column = pair.partition("=")
        if not separator or name not in FIELDS:
            raise RefusedError(f"--map {pair!r}: give FIELD=COLUMN, with a field of {', '.join(FIELDS)}")
        mapping[name] = column
    return mapping


def read_rows(path: str, file_format: FileFormat) -> Iterator[dict[str, Any]]:
    """The file's rows, one at a time. `-` is standard input.

    Raises:
        RefusedError: The file cannot be read, or is not of that format.
    """
    try:
        with ExitStack() as stack:
            if file_format is FileFormat.PARQUET:
                yield from _parquet_rows(path)
            else:
                lines = sys.stdin if path == "-" else stack.enter_context(Path(path).open(encoding="utf-8", newline=""))
                yield from _csv_rows(lines) if file_format is FileFormat.CSV else _json_rows(lines, path)
    except (OSError, UnicodeDecodeError, csv.Error, NotParquetError) as error:
        raise RefusedError(f"{path} cannot be read as {file_format}: {error}") from error


class NotParquetError(ValueError):
    """Arrow cannot read it."""


def _parquet_rows(path: str) -> Iterator[dict[str, Any]]:
    # Loaded here: most calls of `tidemill` need no Arrow.
    import pyarrow.parquet

    source = pyarrow.BufferReader(sys.stdin.buffer.read()) if path == "-" else path
    try:
        # One thread: Arrow's workers would hold Python's bytes at exit, and abort (apache/arrow issue 33975).
        file = pyarrow.parquet.ParquetFile(source, pre_buffer=False)
        for batch in file.iter_batches(batch_size=1000, use_threads=False):
            yield from batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise NotParquetError(str(error)) from error


def _csv_rows(lines: TextIO) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(sys.maxsize)
    for row in csv.DictReader(lines):
        # An empty cell is an absent value, except for text and label, which the curator judges.
        yield {name: value for name, value in row.items() if name is not None and (value or name in ("text", "label"))}


def _json_rows(lines: TextIO, path: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise RefusedError(f"{path} line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise RefusedError(f"{path} line {number} is not a JSON object")
            yield row


def review_of(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """A row as a review: mapped columns first, then columns that already have a field's name.

    Raises:
        RefusedError: There is no text or no label column.
    """
    columns = {name: mapping.get(name, name) for name in FIELDS}
    review = {name: row[column] for name, column in columns.items() if column in row}
    missing = [name for name in ("text", "label") if name not in review]
    if missing:
        raise RefusedError(f"no column for {' and '.join(missing)}; the file has {sorted(row)}. Use --map text=COLUMN")
    return review


def publish(settings: Settings, rows: Iterable[dict[str, Any]], source: str | None = None) -> Iterator[Tally]:
    """Sends every row, then waits for the acknowledgements. Yields the tally after each row and at the end.

    A row that cannot be read ends it: what was sent before is still waited for, and the tally holds the error.
    """
    producer, tally, room = Producer(settings, "publish"), Tally(), threading.Semaphore(IN_FLIGHT)
    try:
        try:
            for number, row in enumerate(rows, start=1):
                _send(producer, tally, room, number, row if source is None else {"source": source} | row)
                yield tally
        except RefusedError as error:
            tally.broke_off = error
        producer.flush(FLUSH_SECONDS)
        yield tally
    finally:
        producer.close()


def _send(producer: Producer, tally: Tally, room: threading.Semaphore, number: int, review: dict[str, Any]) -> None:
    value = json.dumps(review, ensure_ascii=False, default=str).encode(errors="replace")
    if len(value) > MAX_REVIEW_BYTES - OVERHEAD_BYTES:
        limit = MAX_REVIEW_BYTES - OVERHEAD_BYTES
        tally.refused.append(f"row {number}: {len(value):,} bytes; a review may have {limit:,}")
        return

    def settle(delivered: bool) -> None:
        tally.settle(delivered)
        room.release()

    room.acquire()
    key = str(review["id"]).encode() if review.get("id") is not None else None
    producer.send_bytes(REVIEWS_LABELED, key, value).on_done(settle)
    tally.sent += 1
