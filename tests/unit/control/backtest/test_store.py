"""What is there is not made again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from services.control.backtest.lesson import Lesson, make_lesson
from services.control.backtest.recording import cut
from services.control.backtest.store import Floats, Store
from shared.training_settings import TrainingSettings
from tests.unit.control.backtest.builders import recording, row, windows_of

ERAS = cut(recording([row(offset) for offset in range(200)]), windows_of())


class Counting:
    """Remembers what it was asked to do."""

    name = "counting"

    def __init__(self) -> None:
        self.parents: list[list[str]] = []
        self.asked: list[str] = []

    def train(self, lesson: Lesson, parents: Sequence[Path], folder: Path) -> None:
        self.parents.append([parent.name for parent in parents])
        (folder / "model").write_text("")

    def predict(self, folder: Path, texts: Sequence[str]) -> Floats:
        self.asked += texts
        return np.array([[len(text), 0.0] for text in texts], np.float32)


def lesson(place: int = 0) -> Lesson:
    return make_lesson(ERAS[place], (), frozenset(), TrainingSettings())


def test_a_lesson_is_trained_once_and_keeps_its_seconds(tmp_path: Path) -> None:
    learner = Counting()
    first = Store(tmp_path, learner).trained(lesson(), ())
    again = Store(tmp_path, learner).trained(lesson(), ())
    assert (len(learner.parents), first.from_cache, again.from_cache) == (1, False, True)
    assert (first.key, first.seconds) == (again.key, again.seconds)


def test_a_child_is_trained_from_its_parents_folder(tmp_path: Path) -> None:
    learner = Counting()
    store = Store(tmp_path, learner)
    parent = store.trained(lesson(), ())
    child = store.trained(lesson(1), [parent.key])
    assert child.key != parent.key
    assert learner.parents == [[], [parent.key]]


def test_a_text_is_asked_about_once_by_whoever_asks(tmp_path: Path) -> None:
    learner = Counting()
    store = Store(tmp_path, learner)
    key = store.trained(lesson(), ()).key
    assert store.answers(key, ["aa", "b", "aa"])[:, 0].tolist() == [2, 1, 2]
    assert Store(tmp_path, learner).answers(key, ["b", "ccc"])[:, 0].tolist() == [1, 3]
    assert learner.asked == ["aa", "b", "ccc"]


def test_a_training_that_fails_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Counting()

    def failing(lesson: Lesson, parents: Sequence[Path], folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("no")

    monkeypatch.setattr(learner, "train", failing)
    with pytest.raises(ValueError, match="no"):
        Store(tmp_path, learner).trained(lesson(), ())
    monkeypatch.undo()
    assert not Store(tmp_path, learner).trained(lesson(), ()).from_cache
