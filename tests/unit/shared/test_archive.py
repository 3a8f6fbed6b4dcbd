"""Snapshots of windows: what is written is read back, and nothing else is."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import fsspec
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archive import Archive, UnlabeledRow, WindowRow
from shared.errors import ArchiveUnavailableError, SnapshotError
from shared.events import Side
from shared.settings import Settings

MOMENT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
DAY = 86_400.0


def row(offset: int = 0, text: str = "A fine film.") -> WindowRow:
    return WindowRow(
        offset, f"r{offset}", text, offset % 2, Side.TRAIN, "imdb", MOMENT, None, 1, offset, MOMENT, b"\x00"
    )


def unlabeled_row(offset: int = 0) -> UnlabeledRow:
    return UnlabeledRow(offset, f"r{offset}", "A fine film.", Side.TRAIN, "imdb", MOMENT, 1, offset, MOMENT)


ROWS = [row(offset) for offset in range(50)]
UNLABELED_ROWS = [unlabeled_row(offset) for offset in range(50)]

moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
int64 = st.integers(0, 2**63 - 1)
any_rows = st.lists(
    st.builds(
        WindowRow,
        offset=int64,
        id=st.text(),
        text=st.text(),
        label=st.integers(0, 1000),
        side=st.sampled_from(Side),
        source=st.none() | st.text(),
        created_at=st.none() | moments,
        prediction_id=st.none() | st.text(),
        origin_partition=st.integers(0, 2**31 - 1),
        origin_offset=int64,
        published_at=moments,
        signature=st.none() | st.binary(),
    ),
    max_size=8,
)
any_unlabeled_rows = st.lists(
    st.builds(
        UnlabeledRow,
        offset=int64,
        id=st.text(),
        text=st.text(),
        side=st.sampled_from(Side),
        source=st.none() | st.text(),
        created_at=st.none() | moments,
        origin_partition=st.integers(0, 2**31 - 1),
        origin_offset=int64,
        published_at=moments,
    ),
    max_size=8,
)


def archive_at(url: str, prefix: str = "") -> Archive:
    return Archive(Settings.model_validate({"archive": {"url": url}, "stream": {"prefix": prefix}}))


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, or a store that like s3 knows objects but no folders."""
    return str(tmp_path / "archive") if request.param == "folder" else f"memory://{uuid4().hex}/prefix"


@pytest.fixture
def archive(url: str) -> Archive:
    return archive_at(url)


@pytest.fixture
def change(url: str) -> Callable[[str, bytes | None], None]:
    """Puts other bytes in place of a snapshot's, or takes it away."""
    store, root = fsspec.core.url_to_fs(url)

    def apply(path: str, data: bytes | None) -> None:
        store.rm_file(f"{root}/{path}") if data is None else store.pipe_file(f"{root}/{path}", data)

    return apply


def bytes_of(url: str, path: str) -> bytes:
    store, root = fsspec.core.url_to_fs(url)
    data: bytes = store.cat_file(f"{root}/{path}")
    return data


@hypothesis.settings(deadline=None)
@given(rows=any_rows)
def test_rows_come_back_as_they_were(rows: list[WindowRow]) -> None:
    archive = archive_at("memory://round-trip")
    assert archive.read(archive.write("w-0000000000", rows)) == rows


@given(rows=any_unlabeled_rows)
def test_unlabelled_rows_come_back_as_they_were(rows: list[UnlabeledRow]) -> None:
    archive = archive_at("memory://round-trip")
    assert archive.read_unlabeled(archive.write_unlabeled("u-0000000000", rows)) == rows


def test_unlabelled_text_has_a_folder_of_its_own(archive: Archive) -> None:
    snapshot = archive.write_unlabeled("u-0000000007", UNLABELED_ROWS)
    assert snapshot.path == f"tidemill/unlabeled/u-0000000007-{snapshot.sha256}.parquet"


def test_what_later_windows_need_is_kept_with_unlabelled_text_too(archive: Archive) -> None:
    assert archive.signatures(archive.write_unlabeled("u-0000000000", UNLABELED_ROWS, b"seen")) == b"seen"
    assert archive.signatures(archive.write_unlabeled("u-0000000000", UNLABELED_ROWS)) == b""


def test_an_archive_works_in_a_folder_and_in_an_object_store(archive: Archive) -> None:
    assert archive.read(archive.write("w-0000000000", ROWS)) == ROWS


def test_the_name_holds_the_window_and_the_digest(archive: Archive) -> None:
    snapshot = archive.write("w-0000000007", ROWS)
    assert snapshot.path == f"tidemill/windows/w-0000000007-{snapshot.sha256}.parquet"


def test_a_time_without_a_zone_is_taken_to_be_utc(archive: Archive) -> None:
    naive = row()._replace(created_at=MOMENT.replace(tzinfo=None))
    assert archive.read(archive.write("w-0000000000", [naive])) == [row()]


def test_writing_twice_is_writing_once(archive: Archive) -> None:
    first, second = archive.write("w-0000000000", ROWS), archive.write("w-0000000000", ROWS)
    assert first == second
    assert archive.sweep([first.path], 0) == []


def test_the_same_rows_give_the_same_bytes_everywhere(archive: Archive, url: str, tmp_path: Path) -> None:
    here, there = archive.write("w-0000000000", ROWS), archive_at(f"{tmp_path}/other").write("w-0000000000", ROWS)
    assert bytes_of(url, here.path) == bytes_of(f"{tmp_path}/other", there.path)


def test_another_row_gives_another_name(archive: Archive) -> None:
    assert archive.write("w-0000000000", ROWS).path != archive.write("w-0000000000", ROWS[:-1]).path


@pytest.mark.parametrize("place", [0, 500, -1])
def test_one_altered_byte_is_refused(
    archive: Archive, url: str, change: Callable[[str, bytes | None], None], place: int
) -> None:
    snapshot = archive.write("w-0000000000", ROWS)
    data = bytearray(bytes_of(url, snapshot.path))
    data[place] ^= 1
    change(snapshot.path, bytes(data))
    with pytest.raises(SnapshotError, match=f"{snapshot.path}.*altered.*expected.*{snapshot.sha256}, found"):
        archive.read(snapshot)


def test_a_truncated_file_is_refused_with_both_sizes(
    archive: Archive, url: str, change: Callable[[str, bytes | None], None]
) -> None:
    snapshot = archive.write("w-0000000000", ROWS)
    change(snapshot.path, bytes_of(url, snapshot.path)[:100])
    with pytest.raises(SnapshotError, match=f"expected {snapshot.size_bytes} bytes.*found 100 bytes"):
        archive.columns(snapshot, ["text"])


def test_a_missing_file_is_a_lost_snapshot(archive: Archive, change: Callable[[str, bytes | None], None]) -> None:
    snapshot = archive.write("w-0000000000", ROWS)
    change(snapshot.path, None)
    with pytest.raises(SnapshotError, match=f"{snapshot.path}.*missing"):
        archive.read(snapshot)


def test_a_file_that_is_no_window_is_refused(archive: Archive, change: Callable[[str, bytes | None], None]) -> None:
    genuine = archive.write("w-0000000000", ROWS)
    data = b"not a window"
    change(genuine.path, data)
    forged = genuine.model_copy(update={"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    with pytest.raises(SnapshotError, match="not a window's snapshot"):
        archive.read(forged)


def test_an_altered_file_is_mended_by_writing_it_again(
    archive: Archive, change: Callable[[str, bytes | None], None]
) -> None:
    snapshot = archive.write("w-0000000000", ROWS)
    change(snapshot.path, b"damaged")
    archive.write("w-0000000000", ROWS)
    assert archive.read(snapshot) == ROWS


def test_columns_come_in_the_order_asked_for(archive: Archive) -> None:
    table = archive.columns(archive.write("w-0000000000", ROWS), ["text", "offset"])
    assert table.column_names == ["text", "offset"]
    assert table.column("offset").to_pylist() == list(range(50))


def test_a_window_of_unlabelled_text_is_no_labelled_one(archive: Archive) -> None:
    with pytest.raises(SnapshotError, match="label"):
        archive.read(archive.write_unlabeled("u-0000000000", UNLABELED_ROWS))


def test_a_column_that_is_not_there_is_named(archive: Archive) -> None:
    with pytest.raises(SnapshotError, match="mood"):
        archive.columns(archive.write("w-0000000000", ROWS), ["mood"])


def test_a_folder_that_is_gone_as_a_whole_is_waited_for(tmp_path: Path) -> None:
    """Else a disk that is not mounted would cost every window that is asked for."""
    archive = archive_at(str(tmp_path / "mounted"))
    snapshot = archive.write("w-0000000000", ROWS)
    (tmp_path / "mounted").rename(tmp_path / "elsewhere")
    with pytest.raises(ArchiveUnavailableError, match="mount it"):
        archive.read(snapshot)


def test_a_store_that_takes_nothing_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the folder")
    with pytest.raises(ArchiveUnavailableError, match="writing tidemill/windows/w-0000000000"):
        archive_at(str(tmp_path / "file")).write("w-0000000000", ROWS)


def test_a_sweep_deletes_orphans_and_keeps_what_a_manifest_names(archive: Archive) -> None:
    kept, orphan = archive.write("w-0000000000", ROWS), archive.write("w-0000000000", ROWS[:-1])
    assert archive.sweep([kept.path], 0) == [orphan.path]
    assert archive.read(kept) == ROWS
    with pytest.raises(SnapshotError):
        archive.read(orphan)


def test_a_sweep_deletes_orphans_of_either_kind(archive: Archive) -> None:
    """A kind of which there is no manifest yet has orphans all the same."""
    kept = archive.write("w-0000000000", ROWS)
    orphan = archive.write_unlabeled("u-0000000000", UNLABELED_ROWS)
    assert archive.sweep([kept.path], 0) == [orphan.path]
    manifested = archive.write_unlabeled("u-0000000000", UNLABELED_ROWS)
    assert archive.sweep([kept.path, manifested.path], 0) == []


def test_a_sweep_leaves_young_orphans_to_their_manifest(archive: Archive) -> None:
    snapshot = archive.write("w-0000000000", ROWS)
    assert archive.sweep(["another"], DAY) == []
    assert archive.read(snapshot) == ROWS


def test_a_sweep_leaves_the_snapshots_of_other_streams(url: str) -> None:
    ours, theirs = archive_at(url, "ours"), archive_at(url, "theirs")
    snapshot, kept = theirs.write("w-0000000000", ROWS), ours.write("w-0000000000", ROWS)
    orphan = ours.write("w-0000000000", ROWS[:-1])
    assert ours.sweep([kept.path], 0) == [orphan.path]
    assert theirs.read(snapshot) == ROWS


def test_what_is_older_than_every_manifest_stays(archive: Archive) -> None:
    """It belongs to manifests of a Kafka that was made anew since."""
    old, kept = archive.write("w-0000000000", ROWS[:-1]), archive.write("w-0000000000", ROWS)
    assert archive.sweep([kept.path], 0) == []
    assert archive.read(old) == ROWS[:-1]


def test_without_any_manifest_nothing_is_swept(archive: Archive) -> None:
    """Kafka may have been made anew, while the archive has not."""
    snapshot = archive.write("w-0000000000", ROWS)
    assert archive.sweep([], 0) == []
    assert archive.read(snapshot) == ROWS


def test_a_sweep_of_an_archive_that_was_never_written_finds_nothing(archive: Archive) -> None:
    assert archive.sweep(["another"], 0) == []


def test_writing_again_makes_an_old_orphan_young(tmp_path: Path) -> None:
    archive = archive_at(str(tmp_path))
    snapshot = archive.write("w-0000000000", ROWS)
    os.utime(tmp_path / snapshot.path, (0, 0))
    archive.write("w-0000000000", ROWS)
    assert archive.sweep(["another"], DAY) == []


def test_a_sweep_takes_what_a_killed_writer_left(tmp_path: Path) -> None:
    archive = archive_at(str(tmp_path))
    snapshot = archive.write("w-0000000000", ROWS)
    (tmp_path / "tidemill" / "windows" / ".0.draft").write_bytes(b"half a wind")
    assert archive.sweep([snapshot.path], 0) == ["tidemill/windows/.0.draft"]


COUNT_ARROWS_THREADS = """
import sys
from pathlib import Path
from shared.archive import Archive
from shared.events import Snapshot
from shared.settings import Settings

archive = Archive(Settings.model_validate({"archive": {"url": sys.argv[1]}}))
before = len(list(Path("/proc/self/task").iterdir()))
assert len(archive.read(Snapshot.model_validate_json(sys.argv[2]))) == 50
print(len(list(Path("/proc/self/task").iterdir())) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_reading_leaves_no_thread_that_could_abort_the_process_at_its_end(tmp_path: Path) -> None:
    snapshot = archive_at(str(tmp_path)).write("w-0", ROWS)
    command = [sys.executable, "-c", COUNT_ARROWS_THREADS, str(tmp_path), snapshot.model_dump_json()]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "0"
