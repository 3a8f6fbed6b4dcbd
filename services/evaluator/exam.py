"""What the scoring process is asked, and what it may answer. Light: neither side's libraries are needed to speak it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.evaluator.gate import ProbeResult
from services.evaluator.pool import HeldOutRow
from shared.events import Score

CHALLENGER, CHAMPION, ANCHOR, BASELINE = "challenger", "champion", "anchor", "baseline"

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Model:
    """A registered version and the digest that its files must have."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model on trial.

    Attributes:
        role: `challenger` for the new one, `waiting VERSION` for one that is undecided.
        rows: (n,) whether each row of the exam decides about it.
    """

    role: str
    model: Model
    rows: BoolArray


def waiting_role(version: str) -> str:
    """The role of an undecided challenger."""
    return f"waiting {version}"


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """One sitting of the gate: the new candidate, those that still wait, and what they are compared with.

    Attributes:
        challenger: The new candidate.
        waiting: Undecided challengers, in the order of their arrival.
        anchor: The anchor's model, where it is not the champion itself.
        window_id: The candidate's newest window, which is on trial too; of a rebuild, the newest that decides about it.
        own_windows: Windows that the candidate was the first to learn from, whose rows are fresh; a rebuild has none.
        rows: Every row that anybody is asked about, each text once, in the order of the stream.
        since_promotion: (n,) whether each row arrived after the champion's promotion.
        eras: Era -> (n,) whether each row is one of its frozen ones.
        label_counts: Labelled rows by label name, for a baseline that counts.
        unreadable: Windows whose rows are missing, because their snapshots are.
        without: What somebody on trial was rebuilt without; `left_out`: how many rows are not here for that.
    """

    challenger: Contender
    champion: Model | None
    window_id: str
    own_windows: tuple[str, ...]
    rows: tuple[HeldOutRow, ...]
    label_counts: dict[str, int]
    waiting: tuple[Contender, ...] = ()
    anchor: Model | None = None
    since_promotion: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    eras: Mapping[str, BoolArray] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """All models on trial, in the order of their arrival."""
        return (*self.waiting, self.challenger)

    @property
    def models(self) -> tuple[Model, ...]:
        """Everybody whose answers count."""
        opponents = (model for model in (self.champion, self.anchor) if model is not None)
        return (*(contender.model for contender in self.contenders), *opponents)

    @property
    def fresh(self) -> BoolArray:
        """(n,) whether each row lies in a window that the candidate learned from: fresh to everybody on trial."""
        return np.array([row.window_id in self.own_windows for row in self.rows], np.bool_)

    @property
    def own(self) -> BoolArray:
        """(n,) whether each row lies in the window on trial."""
        return np.array([row.window_id == self.window_id for row in self.rows], np.bool_)

    def asked_of(self, contender: Contender) -> BoolArray:
        """(n,) whether a contender must answer each row: those that decide about it, and the eras'."""
        rows = contender.rows.copy()
        for era in self.eras.values():
            rows |= era
        return rows

    @property
    def everywhere(self) -> BoolArray:
        """(n,) all rows."""
        return np.ones(len(self.rows), np.bool_)


@dataclass(frozen=True, slots=True)
class Answer:
    """A label as one model gave it; its confidence is None where its probabilities mean nothing."""

    label: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class FlippedRow:
    """A held-out review that only one of two models gets right: the challenger, if `won`. Long texts are cut."""

    window_id: str
    offset: int
    text: str
    label: str
    challenger: Answer
    opponent: Answer
    won: bool


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What people are shown beside a contender's numbers: PNG files, and the rows that flipped, losses first."""

    pictures: tuple[Path, ...] = ()
    flipped: tuple[FlippedRow, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The models' answers.

    Attributes:
        probe: What happened when the new candidate was asked known questions.
        right: Role -> (n,) whether it was right; False where it was not asked.
        answered: Role -> (n,) whether it was asked.
        scores: Contender's role -> metrics of it and its opponents, by model and rows.
        new_answers: Rows that a model had to be asked; the others' answers were known.
        exhibits: Contender's role -> what is shown to people with its decision.
        unusable: Waiting contender's role -> why it cannot be asked any more.
        slices: Slice -> (n,) whether each row belongs to it.
        losses: Role -> (n,) Brier losses, NaN where it was not asked; of models with probabilities only.
        sizes: Role -> bytes of the model's weights, of models that had to be loaded.
        latencies: Role -> its time for a few texts as a multiple of the champion's; empty if no term asks.
    """

    probe: ProbeResult
    right: Mapping[str, BoolArray]
    answered: Mapping[str, BoolArray]
    scores: Mapping[str, tuple[Score, ...]]
    new_answers: int
    exhibits: Mapping[str, Exhibit] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, BoolArray] = field(default_factory=dict)
    losses: Mapping[str, FloatArray] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    latencies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unusable:
    """The challenger cannot be loaded, or does not answer. Not the same as worse."""

    reason: str


@dataclass(frozen=True, slots=True)
class Killed:
    """A signal ended the scoring, as when memory is short; it says little about the challenger, unless it goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Something else is missing; it says nothing about the challenger."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """No candidate can be scored with these settings."""

    reason: str


Failure = Unusable | Killed | Unavailable | Misconfigured
Result = Measured | Failure
