"""Which text a prediction was about: a bounded table on disk, so that feedback needs only the prediction's id."""

import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.server.engine import Prediction

log = structlog.get_logger("store")

WAITING_ROWS = 20_000  # answers not on disk yet; beyond, they are forgotten rather than slow an answer down
ROWS_PER_COMMIT = 1_000
WRITTEN_WITHIN_SECONDS = 0.25
_TABLE = """
CREATE TABLE IF NOT EXISTS predictions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    prediction_id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, version TEXT NOT NULL, label TEXT NOT NULL
)"""
_INSERT = "INSERT OR IGNORE INTO predictions (prediction_id, text, version, label) VALUES (?, ?, ?, ?)"
_PRUNE = "DELETE FROM predictions WHERE number <= (SELECT MAX(number) FROM predictions) - ?"
_SELECT = "SELECT text, version, label FROM predictions WHERE prediction_id = ?"


@dataclass(frozen=True, slots=True)
class Remembered:
    """A prediction as it was given."""

    text: str
    version: str
    label: str


class PredictionStore:
    """Remembers the latest answers. Writing never blocks one; on a full disk they are forgotten, and still given.

    A file that cannot be opened is set aside as `NAME.damaged`; if nothing can be kept, nothing is found.
    """

    def __init__(self, path: Path, rows: int) -> None:
        """Opens or creates the file; `rows` is the most that is kept."""
        self._path, self._rows = path, rows
        self._waiting: queue.Queue[Prediction | None] = queue.Queue(WAITING_ROWS)
        self._unwritten: dict[str, Remembered] = {}
        self._is_usable = self._opens() or (self._set_aside() and self._opens())
        self._writer = threading.Thread(target=self._write, name="store", daemon=True)
        if self._is_usable:
            self._writer.start()

    def keep(self, predictions: Sequence[Prediction]) -> None:
        """Remembers them, at once for `find`, soon on disk."""
        for prediction in predictions if self._is_usable else ():
            answer = prediction.answer
            self._unwritten[prediction.prediction_id] = Remembered(answer.text, prediction.version, answer.label)
            try:
                self._waiting.put_nowait(prediction)
            except queue.Full:
                self._unwritten.pop(prediction.prediction_id, None)

    def find(self, prediction_id: str) -> Remembered | None:
        """The prediction, or None if it was never given here or is too old. Reads the disk: call it off the loop."""
        if (unwritten := self._unwritten.get(prediction_id)) is not None:
            return unwritten
        if not self._is_usable:
            return None
        if (written := self._read(prediction_id)) is None:
            # Another worker of this replica may be about to write it.
            time.sleep(WRITTEN_WITHIN_SECONDS)
            written = self._read(prediction_id)
        return written

    def _read(self, prediction_id: str) -> Remembered | None:
        try:
            with closing(self._connect()) as connection:
                row = connection.execute(_SELECT, (prediction_id,)).fetchone()
        except sqlite3.Error as error:
            log.warning("predictions_not_read", error=str(error))
            return None
        return Remembered(*row) if row else None

    def close(self, seconds: float = 5.0) -> None:
        """Writes what waits, within the time given."""
        if not self._is_usable:
            return
        with suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
        self._writer.join(seconds)

    def _opens(self) -> bool:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute(_TABLE)
        except (sqlite3.Error, OSError) as error:
            log.error("predictions_unusable", file=str(self._path), error=str(error))
            return False
        return True

    def _set_aside(self) -> bool:
        """Moves the file out of the way, with its journal: a new file must not be repaired from the old one's."""
        try:
            for suffix in ("", "-wal", "-shm"):
                found = Path(f"{self._path}{suffix}")
                if found.exists():
                    found.replace(f"{found}.damaged")
        except OSError as error:
            log.error("predictions_not_set_aside", file=str(self._path), error=str(error))
            return False
        return True

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _write(self) -> None:
        with closing(self._connect()) as connection:
            while batch := self._next_batch():
                try:
                    self._commit(connection, batch)
                except sqlite3.Error as error:
                    log.warning("predictions_not_kept", rows=len(batch), error=str(error))
                for prediction in batch:
                    self._unwritten.pop(prediction.prediction_id, None)

    def _next_batch(self) -> list[Prediction]:
        """What waits, after waiting for the first; empty: the end."""
        batch: list[Prediction] = []
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            if len(batch) == ROWS_PER_COMMIT or self._waiting.empty():
                return batch
            item = self._waiting.get()
        if batch:
            self._waiting.put(None)
        return batch

    def _commit(self, connection: sqlite3.Connection, batch: Sequence[Prediction]) -> None:
        rows = [(each.prediction_id, each.answer.text, each.version, each.answer.label) for each in batch]
        with connection:
            connection.execute("BEGIN")
            connection.executemany(_INSERT, rows)
            connection.execute(_PRUNE, (self._rows,))
