"""What models answered before, on disk: a model is asked about a row once, so a champion scores only new rows.

A cache: whatever happens to the file, the models can be asked again.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

log = structlog.get_logger("answers")

Probabilities = NDArray[np.float32]

_TABLES = """
CREATE TABLE IF NOT EXISTS models (model TEXT PRIMARY KEY, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    model TEXT NOT NULL, row TEXT NOT NULL, probabilities BLOB NOT NULL, PRIMARY KEY (model, row)
);
"""
_WAIT_SECONDS = 30.0


class AnswerCache:
    """Probabilities by (model, row key), for the latest models and the latest rows of each."""

    def __init__(self, path: Path, keep_models: int, keep_rows: int) -> None:
        """Opens the file, or starts an empty one in place of what is no such file."""
        self._path, self._keep_models, self._keep_rows = path, keep_models, keep_rows
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._start_over(error)

    def get(self, model: str, keys: Sequence[str]) -> dict[str, Probabilities]:
        """The answers that are known, by row key; each of shape (k,). None if the file turns out to be damaged."""
        try:
            return self._get(model, set(keys))
        except sqlite3.DatabaseError as error:
            self._start_over(error)
            return {}

    def put(self, model: str, answers: Mapping[str, Probabilities]) -> None:
        """Keeps answers, at once and all of them, and lets go of what lies beyond the bounds, or of a damaged file."""
        try:
            self._put(model, answers)
        except sqlite3.DatabaseError as error:
            self._start_over(error)

    def _get(self, model: str, wanted: set[str]) -> dict[str, Probabilities]:
        with self._open() as database:
            rows = database.execute("SELECT row, probabilities FROM answers WHERE model = ?", (model,))
            return {key: np.frombuffer(blob, np.float32) for key, blob in rows if key in wanted}

    def _put(self, model: str, answers: Mapping[str, Probabilities]) -> None:
        rows = [(model, key, np.asarray(answer, np.float32).tobytes()) for key, answer in answers.items()]
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
            self._touch(database, model)
            self._forget(database, model)

    def _start_over(self, error: sqlite3.DatabaseError) -> None:
        log.warning("starting_over", path=str(self._path), error=str(error))
        # The journal too: it would be rolled back into the new file.
        for suffix in ("", "-journal"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._prepare()

    def _prepare(self) -> None:
        with self._open() as database:
            database.executescript(_TABLES)
            database.execute("SELECT count(*) FROM answers").fetchone()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS)) as database, database:
            yield database

    def _touch(self, database: sqlite3.Connection, model: str) -> None:
        database.execute("INSERT OR REPLACE INTO models SELECT ?, coalesce(max(used), 0) + 1 FROM models", (model,))

    def _forget(self, database: sqlite3.Connection, model: str) -> None:
        database.execute(
            "DELETE FROM answers WHERE model = ? AND rowid NOT IN "
            "(SELECT rowid FROM answers WHERE model = ? ORDER BY rowid DESC LIMIT ?)",
            (model, model, self._keep_rows),
        )
        latest = "(SELECT model FROM models ORDER BY used DESC LIMIT ?)"
        database.execute(f"DELETE FROM answers WHERE model NOT IN {latest}", (self._keep_models,))
        database.execute(f"DELETE FROM models WHERE model NOT IN {latest}", (self._keep_models,))
