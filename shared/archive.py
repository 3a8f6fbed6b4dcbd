"""Window snapshots: one Parquet file each, named by its content, in a folder or any store that fsspec speaks to."""

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from shared.errors import ArchiveUnavailableError, SnapshotError, SnapshotMissingError, TidemillError
from shared.events import CuratedReview, Side, Snapshot, UnlabeledReview
from shared.settings import Settings

# Folders of a stream: windows of labelled reviews, and of text without labels.
WINDOWS, UNLABELED = "windows", "unlabeled"
_SIGNATURES = b"tidemill.signatures"
_MOMENT = pa.timestamp("us", tz="UTC")

# A snapshot is read for ever: a column may be added at the end as nullable, none may change.
SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("created_at", _MOMENT),
        pa.field("prediction_id", pa.string()),
        pa.field("origin_partition", pa.int32(), nullable=False),
        pa.field("origin_offset", pa.int64(), nullable=False),
        pa.field("published_at", _MOMENT, nullable=False),
        pa.field("signature", pa.binary()),
    ]
)
UNLABELED_SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("created_at", _MOMENT),
        pa.field("origin_partition", pa.int32(), nullable=False),
        pa.field("origin_offset", pa.int64(), nullable=False),
        pa.field("published_at", _MOMENT, nullable=False),
    ]
)


class WindowRow(NamedTuple):
    """One kept review of a window; the fields are the snapshot's columns."""

    offset: int
    id: str
    text: str
    label: int
    side: Side
    source: str | None
    created_at: datetime | None
    prediction_id: str | None
    origin_partition: int
    origin_offset: int
    published_at: datetime
    signature: bytes | None

    @classmethod
    def of(cls, offset: int, review: CuratedReview) -> "WindowRow":
        """The row of a curated review that is kept, by its offset in `reviews.curated`."""
        return cls(
            offset=offset,
            id=review.id,
            text=review.text,
            label=review.label,
            side=review.side,
            source=review.source,
            created_at=review.created_at,
            prediction_id=review.prediction_id,
            origin_partition=review.origin.partition,
            origin_offset=review.origin.offset,
            published_at=review.published_at,
            signature=None,
        )


class UnlabeledRow(NamedTuple):
    """One kept review of a window of unlabelled text; the fields are the snapshot's columns."""

    offset: int
    id: str
    text: str
    side: Side
    source: str | None
    created_at: datetime | None
    origin_partition: int
    origin_offset: int
    published_at: datetime

    @classmethod
    def of(cls, offset: int, review: UnlabeledReview) -> "UnlabeledRow":
        """The row of an unlabelled review that is kept, by its offset in `reviews.unlabeled`."""
        return cls(
            offset=offset,
            id=review.id,
            text=review.text,
            side=review.side,
            source=review.source,
            created_at=review.created_at,
            origin_partition=review.origin.partition,
            origin_offset=review.origin.offset,
            published_at=review.published_at,
        )


class Archive:
    """One stream's snapshots below `settings.archive_url`. Written once, verified at every reading."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.archive_url
        # Streams may share an archive, and the manifests of one say nothing about the snapshots of another.
        self._windows = f"{settings.stream.folder}/{WINDOWS}"
        self._unlabeled = f"{settings.stream.folder}/{UNLABELED}"
        with _store_errors(f"opening the archive {self._url}"):
            self._store, self._root = _open(self._url)

    def write(self, window_id: str, rows: Sequence[WindowRow], signatures: bytes = b"") -> Snapshot:
        """Keeps a window's rows; the same rows give the same bytes under the same name, so twice is once.

        Args: signatures: what later windows need to find repetitions of this one, rows that it set aside included.

        Times without a zone are taken to be UTC. A reader never sees half a file.

        Raises:
            ArchiveUnavailableError: The store did not take it.
        """
        return self._put(self._windows, window_id, _to_parquet(rows, SCHEMA, signatures))

    def write_unlabeled(self, window_id: str, rows: Sequence[UnlabeledRow], signatures: bytes = b"") -> Snapshot:
        """Keeps the rows of a window of unlabelled text, as `write` does those of a labelled one."""
        return self._put(self._unlabeled, window_id, _to_parquet(rows, UNLABELED_SCHEMA, signatures))

    def read(self, snapshot: Snapshot) -> list[WindowRow]:
        """The rows in the order of writing, after the file's size and digest were verified.

        Raises:
            SnapshotError: The file is missing (SnapshotMissingError), altered, or not a window.
            ArchiveUnavailableError: The store could not be read.
        """
        return [WindowRow(*values) for values in _to_rows(self.columns(snapshot, SCHEMA.names))]

    def read_unlabeled(self, snapshot: Snapshot) -> list[UnlabeledRow]:
        """The rows of a window of unlabelled text; raises as `read` does."""
        return [UnlabeledRow(*values) for values in _to_rows(self.columns(snapshot, UNLABELED_SCHEMA.names))]

    def find(self, window_id: str, sha256: str) -> Snapshot:
        """The snapshot of a window of labelled reviews, from what a version's lineage names.

        Raises:
            SnapshotMissingError: There is no such file.
            ArchiveUnavailableError: The store could not be asked.
        """
        path = f"{self._windows}/{window_id}-{sha256}.parquet"
        with _store_errors(f"looking for {path} in the archive {self._url}"):
            try:
                size = int(self._store.size(self._full(path)))
            except FileNotFoundError as error:
                self._refuse_lost_root()
                raise SnapshotMissingError(f"{path} is not in the archive {self._url}; restore it") from error
        return Snapshot(path=path, sha256=sha256, size_bytes=size)

    def columns(self, snapshot: Snapshot, names: Collection[str]) -> pa.Table:
        """Some columns of the verified file; raises as `read` does."""
        data = self._verified(snapshot)
        try:
            # Arrow's worker threads would hold Python's bytes at exit, and abort the process
            # (https://github.com/apache/arrow/issues/33975); one thread is as fast for a file of this size.
            file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
            return file.read(use_threads=False).select(list(names))
        except (pa.ArrowException, KeyError) as error:
            raise SnapshotError(f"{self._named(snapshot)} is not a window's snapshot: {error}") from error

    def signatures(self, snapshot: Snapshot) -> bytes:
        """What was given with the rows; empty if nothing was. Raises as `read` does."""
        stored = pq.read_metadata(pa.BufferReader(self._verified(snapshot))).metadata or {}
        return b64decode(stored.get(_SIGNATURES, b""))

    def sweep(self, known: Collection[str], older_than_seconds: float) -> list[str]:
        """Deletes this stream's files that no manifest names and that are older than the given age.

        Files older than all that manifests name stay: Kafka may be a new one beside an archive that is not.

        Args: known: `Snapshot.path` of every manifest; these stay whatever their age.
        Returns: the deleted paths, below the root like `Snapshot.path`.
        """
        with _store_errors(f"sweeping the archive {self._url}"):
            ages = {path: self._age(path) for path in self._files()}
            oldest_known = max((age for path, age in ages.items() if path in known), default=0.0)
            orphans = [path for path in ages if path not in known and older_than_seconds < ages[path] <= oldest_known]
            for path in orphans:
                self._store.rm_file(self._full(path))
        return orphans

    def _put(self, folder: str, window_id: str, data: bytes) -> Snapshot:
        digest = hashlib.sha256(data).hexdigest()
        snapshot = Snapshot(path=f"{folder}/{window_id}-{digest}.parquet", sha256=digest, size_bytes=len(data))
        with _store_errors(f"writing {snapshot.path} to the archive {self._url}"):
            # Even if it is there: that renews its age, so that no sweep takes it between now and its manifest.
            _put_whole(self._store, self._full(snapshot.path), data)
        return snapshot

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _named(self, snapshot: Snapshot) -> str:
        return f"snapshot {snapshot.path} in the archive {self._url}"

    def _files(self) -> list[str]:
        self._store.invalidate_cache()
        return [
            f"{folder}/{Path(name).name}"
            for folder in (self._windows, self._unlabeled)
            for name in sorted(self._store.find(self._full(folder), maxdepth=1))
        ]

    def _age(self, path: str) -> float:
        modified: datetime = self._store.modified(self._full(path))
        return (datetime.now(UTC) - modified).total_seconds()

    def _verified(self, snapshot: Snapshot) -> bytes:
        data = self._bytes(snapshot)
        found = hashlib.sha256(data).hexdigest()
        if (len(data), found) != (snapshot.size_bytes, snapshot.sha256):
            raise SnapshotError(
                f"{self._named(snapshot)} was altered: expected {snapshot.size_bytes} bytes with SHA-256 "
                f"{snapshot.sha256}, found {len(data)} bytes with {found}; restore it from a copy"
            )
        return data

    def _bytes(self, snapshot: Snapshot) -> bytes:
        with _store_errors(f"reading {snapshot.path} from the archive {self._url}"):
            try:
                data: bytes = self._store.cat_file(self._full(snapshot.path))
            except FileNotFoundError as error:
                self._refuse_lost_root()
                raise SnapshotMissingError(
                    f"{self._named(snapshot)} is missing: expected {snapshot.size_bytes} bytes with SHA-256 "
                    f"{snapshot.sha256}, found no file; restore it from a copy"
                ) from error
        return data

    def _refuse_lost_root(self) -> None:
        """A folder that is gone as a whole is a disk that is not mounted, not a window that was lost."""
        if isinstance(self._store, LocalFileSystem) and not Path(self._root).is_dir():
            raise ArchiveUnavailableError(f"the archive {self._url} is not there; mount it, or correct archive.url")


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    store, root = url_to_fs(url)
    return store, root.rstrip("/")


@contextmanager
def _store_errors(doing: str) -> Iterator[None]:
    """Each store fails with exceptions of its own library, down to bare Exception; all mean: not now."""
    try:
        yield
    except TidemillError:
        raise
    except Exception as error:
        raise ArchiveUnavailableError(f"{doing}: {type(error).__name__}: {error}") from error


def _put_whole(store: AbstractFileSystem, path: str, data: bytes) -> None:
    if isinstance(store, LocalFileSystem):
        _put_local(Path(path), data)
    else:
        # Object stores show an object only when all of it has arrived.
        store.pipe_file(path, data)


def _put_local(target: Path, data: bytes) -> None:
    """Bytes and name are on disk when this returns: the manifest that follows must not outlive its file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid4().hex}.draft")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_parquet(rows: Sequence[tuple[Any, ...]], schema: pa.Schema, signatures: bytes) -> bytes:
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    sink = pa.BufferOutputStream()
    # One row group and fixed options: the bytes depend on the rows alone (and on pyarrow's version).
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=1 << 30)
        if signatures:
            writer.add_key_value_metadata({_SIGNATURES: b64encode(signatures)})
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _to_rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    columns = table.to_pydict()
    columns["side"] = [Side(side) for side in columns["side"]]
    return zip(*columns.values(), strict=True)
