"""What the watch had seen at each of its bets: written by the monitor, read by whoever tells people of a rollback."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from services.evaluator.comparison import Flips

# In a rollback's numbers: the evidence at which the watch asks for one.
ALARM = "watch/alarm"
TABLE = """
CREATE TABLE IF NOT EXISTS bets (
    reign INTEGER NOT NULL, against TEXT NOT NULL, place INTEGER NOT NULL, wins INTEGER NOT NULL,
    losses INTEGER NOT NULL, ties INTEGER NOT NULL, both_right INTEGER NOT NULL, pot REAL NOT NULL,
    PRIMARY KEY (reign, against, place)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Bet:
    """One champion beside one earlier version, on all fresh reviews that were bet on so far.

    Attributes:
        offset: Of the last of them in `reviews.curated`.
        flips: Wins: only the champion was right; losses: only the earlier version.
        both_right: Of the ties.
        pot: Evidence that the champion is worse.
    """

    offset: int
    flips: Flips
    both_right: int
    pot: float

    @property
    def champion_accuracy(self) -> float:
        """Share of these reviews that the champion got right."""
        return (self.flips.wins + self.both_right) / self.flips.rows

    @property
    def earlier_accuracy(self) -> float:
        """Share of the same reviews that the earlier version got right."""
        return (self.flips.losses + self.both_right) / self.flips.rows

    def numbers(self) -> dict[str, float]:
        """What a ledger keeps of it; `bet_of` reads it back."""
        flips = self.flips
        return {
            "watch/offset": self.offset,
            "watch/wins": flips.wins,
            "watch/losses": flips.losses,
            "watch/ties": flips.ties,
            "watch/both_right": self.both_right,
            "watch/evidence": self.pot,
        }


def bet_of(numbers: Mapping[str, float]) -> Bet | None:
    """What `Bet.numbers` keeps; None if there is nothing of it."""
    try:
        offset, wins, losses, ties, both = (
            int(numbers[f"watch/{name}"]) for name in ("offset", "wins", "losses", "ties", "both_right")
        )
        return Bet(offset, Flips(wins, losses, ties), both, numbers["watch/evidence"])
    except KeyError:
        return None


def write(database: sqlite3.Connection, reign: int, against: str, bets: Iterable[Bet]) -> None:
    """Adds bets of a reign, in the caller's transaction; one that is made again takes the place of the first."""
    database.executemany(
        "INSERT OR REPLACE INTO bets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (reign, against, bet.offset, bet.flips.wins, bet.flips.losses, bet.flips.ties, bet.both_right, bet.pot)
            for bet in bets
        ],
    )


def read(notebook: Path, reign: int, against: str) -> tuple[Bet, ...]:
    """The bets of a reign in their order, from the monitor's file, which this never changes.

    Args: reign: the number of the ledger's entry that began it; against: the earlier version.
    Raises: sqlite3.Error if there is no such file, or none that can be read.
    """
    with closing(sqlite3.connect(f"{notebook.as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute(
            "SELECT place, wins, losses, ties, both_right, pot FROM bets "
            "WHERE reign = ? AND against = ? ORDER BY place",
            (reign, against),
        )
        return tuple(Bet(place, Flips(wins, losses, ties), both, pot) for place, wins, losses, ties, both, pot in found)
