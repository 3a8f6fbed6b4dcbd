"""The rows that flipped: who lost where, the surest error first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.evaluator.exam import Answer
from services.evaluator.flipped import MOST_CHARS, MOST_ROWS, flipped_rows
from services.evaluator.pool import HeldOutRow
from tests.unit.evaluator.builders import LABELS, row

TRUTH = 1


@dataclass(frozen=True)
class Said:
    """Probabilities of the second label, which is the true one."""

    positive: tuple[float, ...]
    has_scores: bool = True

    @property
    def probabilities(self) -> NDArray[np.float32]:
        second = np.array(self.positive, np.float32)
        return np.stack([1 - second, second], axis=1)

    @property
    def chosen(self) -> NDArray[np.int64]:
        return self.probabilities.argmax(axis=1)


def rows(count: int, text: str | None = None) -> list[HeldOutRow]:
    return [row(0, place, text and f"{text} {place}", label=TRUTH) for place in range(count)]


def test_losses_come_first_and_the_surest_error_leads() -> None:
    challenger, champion = Said((0.4, 0.1, 0.9, 0.8, 0.2)), Said((0.7, 0.9, 0.3, 0.1, 0.2))
    found = flipped_rows(rows(5), np.ones(5, np.bool_), challenger, champion, LABELS)
    assert [(flip.offset, flip.won) for flip in found] == [(1, False), (0, False), (3, True), (2, True)]
    assert found[0].label == "positive"
    assert (found[0].challenger.label, found[0].opponent.label) == ("negative", "positive")


def test_rows_that_do_not_decide_are_not_shown() -> None:
    found = flipped_rows(rows(2), np.array([False, True]), Said((0.1, 0.2)), Said((0.9, 0.9)), LABELS)
    assert [flip.offset for flip in found] == [1]


def test_a_model_without_scores_is_sure_of_nothing() -> None:
    challenger, baseline = Said((0.9, 0.9)), Said((0.0, 0.0), has_scores=False)
    found = flipped_rows(rows(2), np.ones(2, np.bool_), challenger, baseline, LABELS)
    assert [flip.offset for flip in found] == [0, 1]
    assert found[0].opponent == Answer("negative", None)


def test_the_worst_so_many_of_each_side_are_enough_and_long_texts_are_cut() -> None:
    many = MOST_ROWS + 5
    found = flipped_rows(
        rows(many, "x" * MOST_CHARS), np.ones(many, np.bool_), Said((0.1,) * many), Said((0.9,) * many), LABELS
    )
    assert len(found) == MOST_ROWS
    assert len(found[0].text) == MOST_CHARS + 1
    assert found[0].text.endswith("…")
