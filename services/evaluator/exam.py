"""What the scoring process is asked, and what it may answer. Light: neither side's libraries are needed to speak it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.evaluator.gate import ProbeResult
from services.evaluator.pool import HeldOutRow
from shared.events import Score

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Model:
    """A registered version and the digest that its files must have."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Exam:
    """One candidate's questions.

    Attributes:
        rows: The pool, fresh rows included, in the order of the stream.
        own_windows: Windows that the candidate learned from, whose rows are fresh.
        label_counts: Labelled rows by label name, for a baseline that counts.
        unreadable: Windows whose rows are missing from the pool, because their snapshots are.
    """

    challenger: Model
    champion: Model | None
    window_id: str
    own_windows: tuple[str, ...]
    rows: tuple[HeldOutRow, ...]
    label_counts: dict[str, int]
    unreadable: tuple[str, ...] = ()

    @property
    def fresh(self) -> BoolArray:
        """(n,) whether each row lies in a window that the candidate learned from."""
        return np.array([row.window_id in self.own_windows for row in self.rows], np.bool_)

    @property
    def own(self) -> BoolArray:
        """(n,) whether each row lies in the window on trial."""
        return np.array([row.window_id == self.window_id for row in self.rows], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Every model's answers to the same rows.

    Attributes:
        right: Model -> (n,) whether it was right, for all models that were asked.
        scores: Metrics by model and rows.
        asked: Rows that a model had to be asked; the others' answers were known.
        pictures: PNG files, to be kept with the decision.
    """

    probe: ProbeResult
    right: dict[str, BoolArray]
    scores: tuple[Score, ...]
    asked: int
    pictures: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Unusable:
    """The challenger cannot be loaded, or does not answer. Not the same as worse."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Something else is missing; it says nothing about the challenger."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """No candidate can be scored with these settings."""

    reason: str


Result = Measured | Unusable | Unavailable | Misconfigured
