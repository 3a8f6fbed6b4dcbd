"""Reading people's files: formats, column names, and clear refusals."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from services.control.publish import FileFormat, format_of, parse_mapping, read_rows, review_of
from services.control.session import RefusedError

ROWS: list[dict[str, Any]] = [
    {"text": "good, “very”", "label": "positive"},
    {"text": "bad\nindeed", "label": "negative"},
]


def written(path: Path, file_format: FileFormat) -> Path:
    match file_format:
        case FileFormat.JSONL:
            path.write_text(
                '{"text": "good, “very”", "label": "positive"}\n\n{"text": "bad\\nindeed", "label": "negative"}'
            )
        case FileFormat.CSV:
            path.write_text('text,label\n"good, “very”",positive\n"bad\nindeed",negative\n')
        case FileFormat.PARQUET:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_every_format_gives_the_same_rows(tmp_path: Path, file_format: FileFormat) -> None:
    path = written(tmp_path / "reviews", file_format)
    assert list(read_rows(str(path), file_format)) == ROWS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", FileFormat.JSONL),
        ("a.NDJSON", FileFormat.JSONL),
        ("a.csv", FileFormat.CSV),
        ("a.parquet", FileFormat.PARQUET),
    ],
)
def test_the_ending_tells_the_format(name: str, expected: FileFormat) -> None:
    assert format_of(name, None) is expected


def test_without_ending_the_format_must_be_said() -> None:
    assert format_of("-", FileFormat.CSV) is FileFormat.CSV
    with pytest.raises(RefusedError, match="--format"):
        format_of("-", None)


def test_columns_are_mapped_and_known_names_taken_as_they_are() -> None:
    row = {"review": "fine", "stars": 1, "source": "shop", "unknown": 3}
    mapping = parse_mapping(["text=review", "label=stars"])
    assert review_of(row, mapping) == {"text": "fine", "label": 1, "source": "shop"}


@pytest.mark.parametrize("pair", ["text", "words=review"])
def test_a_mapping_to_no_field_is_refused(pair: str) -> None:
    with pytest.raises(RefusedError, match="FIELD=COLUMN"):
        parse_mapping([pair])


def test_a_row_without_text_says_which_columns_there_are() -> None:
    with pytest.raises(RefusedError, match=r"no column for text.*\['label', 'words'\]"):
        review_of({"words": "x", "label": 1}, {})


@pytest.mark.parametrize("line", ["{", "[1]", "7"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text('{"text": "a", "label": 1}\n' + line)
    with pytest.raises(RefusedError, match="line 2"):
        list(read_rows(str(path), FileFormat.JSONL))


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_a_file_that_is_something_else_is_refused_by_name(tmp_path: Path, file_format: FileFormat) -> None:
    path = tmp_path / "reviews.bin"
    path.write_bytes(b"\xff\xfe\x00\x01" * 100)
    with pytest.raises(RefusedError, match=r"reviews\.bin"):
        list(read_rows(str(path), file_format))
