"""Served answers joined with labels that come minutes or days later, out of order, twice, or never.

Bounded on both sides: the latest answers are kept, and neither waits for the other beyond a horizon. Times are the
broker's, so that clocks of servers do not matter.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.evaluator.quarantine import Tally
from shared.events import ServedPrediction
from shared.metrics import FeedbackOutcome
from shared.monitor_settings import MonitorSettings

TABLES = """
CREATE TABLE IF NOT EXISTS served (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, label TEXT NOT NULL,
    score REAL NOT NULL, at REAL NOT NULL, truth TEXT
);
CREATE TABLE IF NOT EXISTS labels (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, label TEXT NOT NULL, at REAL NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """One served answer: its label, and the probability that the model gave it."""

    label: str
    score: float


class Feedback:
    """Both sides of the join, in the caller's database and transactions. The first label of an answer counts."""

    def __init__(self, database: sqlite3.Connection, settings: MonitorSettings) -> None:
        self._database, self._settings = database, settings
        database.executescript(TABLES)

    def answered(self, prediction: ServedPrediction, at: float) -> FeedbackOutcome | None:
        """Takes a served answer; JOINED if its label came before it. A repetition changes nothing.

        Args: at: broker time, seconds.
        """
        added = self._database.execute(
            "INSERT OR IGNORE INTO served (id, version, label, score, at) VALUES (?, ?, ?, ?, ?)",
            (prediction.prediction_id, prediction.version, prediction.label, prediction.score, at),
        )
        if not added.rowcount:
            return None
        found = self._database.execute(
            "DELETE FROM labels WHERE id = ? RETURNING label", (prediction.prediction_id,)
        ).fetchone()
        if found is None:
            return None
        self._join(prediction.prediction_id, found[0])
        return FeedbackOutcome.JOINED

    def labelled(self, prediction_id: str, label: str, at: float) -> FeedbackOutcome | None:
        """Takes a label for an answer; None if it waits for that.

        Args: at: broker time, seconds.
        """
        found = self._database.execute("SELECT at, truth FROM served WHERE id = ?", (prediction_id,)).fetchone()
        if found is None:
            return self._wait(prediction_id, label, at)
        answered_at, truth = found
        if truth is not None:
            return FeedbackOutcome.REPEATED
        self._join(prediction_id, label)
        is_late = at - answered_at > self._settings.late_seconds
        return FeedbackOutcome.LATE if is_late else FeedbackOutcome.JOINED

    def expire(self, now: float) -> Counter[FeedbackOutcome]:
        """Lets go of what lies beyond the bounds: labels UNMATCHED, answers UNANSWERED; joined ones in silence."""
        oldest, most = now - self._settings.feedback_seconds, self._settings.served_rows
        bounded = "at < ? OR number <= (SELECT max(number) FROM {0}) - ?"
        labels = self._database.execute(f"DELETE FROM labels WHERE {bounded.format('labels')}", (oldest, most))
        served = self._database.execute(
            f"DELETE FROM served WHERE {bounded.format('served')} RETURNING truth", (oldest, most)
        )
        unanswered = sum(truth is None for (truth,) in served.fetchall())
        return Counter({FeedbackOutcome.UNMATCHED: labels.rowcount, FeedbackOutcome.UNANSWERED: unanswered})

    def accuracy(self) -> dict[str, Tally]:
        """Version -> how many of its answers were right, of those kept whose label came."""
        found = self._database.execute(
            "SELECT version, sum(label = truth), count(*) FROM served WHERE truth IS NOT NULL GROUP BY version"
        )
        return {version: Tally(right, rows) for version, right, rows in found}

    def latest(self, rows: int) -> Sequence[Answered]:
        """The latest answers, labelled or not, the newest first."""
        found = self._database.execute("SELECT label, score FROM served ORDER BY number DESC LIMIT ?", (rows,))
        return [Answered(label, score) for label, score in found]

    def _join(self, prediction_id: str, label: str) -> None:
        self._database.execute("UPDATE served SET truth = ? WHERE id = ?", (label, prediction_id))

    def _wait(self, prediction_id: str, label: str, at: float) -> FeedbackOutcome | None:
        added = self._database.execute(
            "INSERT OR IGNORE INTO labels (id, label, at) VALUES (?, ?, ?)", (prediction_id, label, at)
        )
        return None if added.rowcount else FeedbackOutcome.REPEATED
