"""The reviews on which challenger and opponent part: what a verdict looks like row by row. Pure."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.evaluator.exam import Answer, BoolArray, FlippedRow
from services.evaluator.pool import HeldOutRow

MOST_ROWS = 50
MOST_CHARS = 300


class Answers(Protocol):
    """One model's answers to all rows."""

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(n, k), of rows that were not asked anything."""

    @property
    def has_scores(self) -> bool:
        """Whether the probabilities mean anything."""

    @property
    def chosen(self) -> NDArray[np.int64]:
        """(n,) label ids."""


def flipped_rows(
    rows: Sequence[HeldOutRow], deciding: BoolArray, challenger: Answers, opponent: Answers, label_names: Sequence[str]
) -> tuple[FlippedRow, ...]:
    """The challenger's losses, then its wins, at most 50 of each; first those on which the loser was surest of itself.

    Args: deciding: (n,) whether each row counts; label_names: k.
    """
    truth = np.array([row.label for row in rows], np.int64)
    right, other = challenger.chosen == truth, opponent.chosen == truth
    losses = _surest(challenger, deciding & ~right & other)
    wins = _surest(opponent, deciding & right & ~other)

    def told(place: int, won: bool) -> FlippedRow:
        row = rows[place]
        mine, theirs = (_answer(model, place, label_names) for model in (challenger, opponent))
        return FlippedRow(row.window_id, row.offset, _cut(row.text), label_names[row.label], mine, theirs, won)

    return (*(told(place, False) for place in losses), *(told(place, True) for place in wins))


def _surest(loser: Answers, rows: BoolArray) -> list[int]:
    """Places of the rows, the loser's confidence falling; in the order of the stream where it has none."""
    places = np.flatnonzero(rows)
    if loser.has_scores:
        places = places[np.argsort(-loser.probabilities[places].max(axis=1), kind="stable")]
    return [int(place) for place in places[:MOST_ROWS]]


def _answer(model: Answers, place: int, label_names: Sequence[str]) -> Answer:
    label = label_names[int(model.chosen[place])]
    return Answer(label, float(model.probabilities[place].max()) if model.has_scores else None)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"
