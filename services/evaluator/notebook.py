"""What the monitor has read and what models answered, on disk, together with how far it has read.

Reviews, answers and positions move in one transaction, so a review is noted once whatever happens; and an answer has
the place of its review for a key, so it counts once however often it is given.
"""

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.evaluator import bets
from services.evaluator.bets import Bet
from services.evaluator.feedback import Feedback
from services.evaluator.pool import text_key
from shared.monitor_settings import MonitorSettings

log = structlog.get_logger("notebook")

NOTEBOOK_FILE = "notebook.sqlite"
_TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS positions (topic TEXT PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, place INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reviews (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, at REAL NOT NULL, label INTEGER NOT NULL, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS answers (
    place INTEGER NOT NULL, model TEXT NOT NULL, label INTEGER NOT NULL, PRIMARY KEY (place, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sketches (
    place INTEGER NOT NULL, model TEXT NOT NULL, sketch BLOB NOT NULL, PRIMARY KEY (place, model)
) WITHOUT ROWID;
"""
_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Review:
    """One fresh labelled review: its offset in `reviews.curated`, its class, and which models gave which class."""

    offset: int
    label: int
    text: str
    answers: Mapping[str, int]


class Notebook:
    """The latest `kept_rows` reviews with their answers, and all feedback within its bounds.

    Of reviews with one text the first kept is noted: a repetition says nothing new. A damaged file is begun anew, and
    the topics are read again.
    """

    def __init__(self, path: Path, settings: MonitorSettings) -> None:
        """Opens the file, or starts an empty one in place of what is no such file."""
        self.path, self._settings = path, settings
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.start_over(str(error))

    def _open(self) -> None:
        self._database = sqlite3.connect(self.path, timeout=_WAIT_SECONDS)
        self._database.executescript(_TABLES + bets.TABLE)
        self.feedback = Feedback(self._database, self._settings)

    def start_over(self, reason: str) -> None:
        """Forgets everything."""
        log.warning("starting_over", path=str(self.path), reason=reason)
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._open()

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is kept, or nothing."""
        with self._database:
            yield

    # Positions and marks

    def position(self, topic: str) -> int | None:
        """Where to read on; None if nothing was read yet."""
        found = self._database.execute("SELECT next FROM positions WHERE topic = ?", (topic,)).fetchone()
        return None if found is None else int(found[0])

    def move(self, topic: str, position: int) -> None:
        """Notes where to read on."""
        self._database.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (topic, position))

    def mark(self, name: str) -> int:
        """Up to which place something is done; -1 if nothing is."""
        found = self._database.execute("SELECT place FROM marks WHERE name = ?", (name,)).fetchone()
        return -1 if found is None else int(found[0])

    def set_mark(self, name: str, place: int) -> None:
        """Notes up to which place something is done, at once."""
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, place))

    # Reviews

    def note(self, offset: int, at: float, label: int, text: str) -> None:
        """Takes a labelled review, if it is of the sample. The sample goes by the text, so that it is always the same.

        Args: at: broker time, seconds.
        """
        key = text_key(text)
        if int(key[:8], 16) < self._settings.sample * 2**32:
            self._database.execute(
                "INSERT OR IGNORE INTO reviews VALUES (?, ?, ?, ?, ?)", (offset, key, at, label, text)
            )

    def prune(self) -> None:
        """Lets go of all but the latest reviews, and of what was answered and bet on the others."""
        oldest = self._database.execute(
            "SELECT place FROM reviews ORDER BY place DESC LIMIT 1 OFFSET ?", (self._settings.kept_rows,)
        ).fetchone()
        if oldest is not None:
            self._database.execute("DELETE FROM reviews WHERE place <= ?", oldest)
            self._database.execute("DELETE FROM answers WHERE place <= ?", oldest)
            self._database.execute("DELETE FROM sketches WHERE place <= ?", oldest)
            self._database.execute("DELETE FROM bets WHERE place <= ?", oldest)

    def after(self, offset: int, at: float, rows: int) -> list[Review]:
        """The first reviews beyond an offset and a broker time, in the order of the stream."""
        found = self._database.execute(
            "SELECT place, label, text FROM reviews WHERE place > ? AND at > ? ORDER BY place LIMIT ?",
            (offset, at, rows),
        ).fetchall()
        answers = self._answers(found[0][0], found[-1][0]) if found else {}
        return [Review(place, label, text, answers.get(place, {})) for place, label, text in found]

    def _answers(self, first: int, last: int) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        query = "SELECT place, model, label FROM answers WHERE place BETWEEN ? AND ?"
        for place, model, label in self._database.execute(query, (first, last)):
            found.setdefault(place, {})[model] = label
        return found

    def texts(self, rows: int, *, beyond: int = -1, up_to: int = sys.maxsize) -> Sequence[str]:
        """The latest texts between two offsets, at most `rows`."""
        found = self._database.execute(
            "SELECT text FROM reviews WHERE place > ? AND place <= ? ORDER BY place DESC LIMIT ?", (beyond, up_to, rows)
        )
        return [text for (text,) in found]

    def without_sketch(self, model: str, rows: int, up_to: int) -> dict[int, str]:
        """Of the latest texts up to an offset, those that a model has made no sketch of; by offset."""
        found = self._database.execute(
            "SELECT place, text FROM (SELECT * FROM reviews WHERE place <= ? ORDER BY place DESC LIMIT ?) AS latest "
            "WHERE NOT EXISTS (SELECT 1 FROM sketches WHERE place = latest.place AND model = ?)",
            (up_to, rows, model),
        )
        return dict(found.fetchall())

    def sketches(self, model: str, rows: int, *, beyond: int = -1, up_to: int = sys.maxsize) -> Sequence[bytes]:
        """A model's sketches of the latest texts between two offsets, at most `rows`."""
        found = self._database.execute(
            "SELECT sketch FROM sketches WHERE model = ? AND place > ? AND place <= ? ORDER BY place DESC LIMIT ?",
            (model, beyond, up_to, rows),
        )
        return [sketch for (sketch,) in found]

    def keep_sketches(self, model: str, sketches: Iterable[tuple[int, bytes]]) -> None:
        """Takes a model's sketches, (offset, sketch), at once."""
        with self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO sketches VALUES (?, ?, ?)",
                [(place, model, sketch) for place, sketch in sketches],
            )

    def keep(self, model: str, answers: Iterable[tuple[int, int]]) -> None:
        """Takes a model's answers, (offset, class), at once. What was answered before stays as it was."""
        with self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", [(place, model, label) for place, label in answers]
            )

    def bet(self, reign: int, made: Mapping[str, Iterable[Bet]], anew: bool) -> None:
        """Takes bets of a reign, by earlier version, at once; `anew`: in place of all those so far."""
        with self._database:
            if anew:
                self._database.execute("DELETE FROM bets WHERE reign = ?", (reign,))
            for against, some in made.items():
                bets.write(self._database, reign, against, some)
