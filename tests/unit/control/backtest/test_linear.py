"""The quick learner learns, goes on from what it knows, and does the same twice."""

from pathlib import Path

import numpy as np
import pytest

from services.control.backtest.lesson import make_lesson
from services.control.backtest.linear import WEIGHTS, LinearLearner, features
from services.control.backtest.recording import cut
from shared.training_settings import TrainingSettings
from tests.unit.control.backtest.builders import recording, row, windows_of

ERAS = cut(recording([row(offset) for offset in range(200)]), windows_of())
TRAINING = TrainingSettings(epochs=3, replay_share=0)


def taught(folder: Path, place: int = 0, parent: Path | None = None) -> Path:
    folder.mkdir()
    LinearLearner().train(make_lesson(ERAS[place], (), frozenset(), TRAINING), [parent] if parent else [], folder)
    return folder


def test_it_learns_which_words_say_what(tmp_path: Path) -> None:
    model = taught(tmp_path / "model")
    texts = ["film 901 was boring", "film 902 was perfect"]
    assert LinearLearner().predict(model, texts).argmax(axis=1).tolist() == [0, 1]


def test_probabilities_add_up_to_one(tmp_path: Path) -> None:
    found = LinearLearner().predict(taught(tmp_path / "model"), ["", "perfect", "???"])
    assert found.shape == (3, 2)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-6)


def test_the_same_lesson_gives_the_same_weights(tmp_path: Path) -> None:
    one, two = taught(tmp_path / "one"), taught(tmp_path / "two")
    assert (one / WEIGHTS).read_bytes() == (two / WEIGHTS).read_bytes()


def test_a_warm_start_goes_on_from_its_parent(tmp_path: Path) -> None:
    parent = taught(tmp_path / "parent")
    cold, warm = taught(tmp_path / "cold", 1), taught(tmp_path / "warm", 1, parent)
    texts = [each.text for each in ERAS[1].rows]
    surest = [LinearLearner().predict(folder, texts).max(axis=1).mean() for folder in (cold, warm)]
    assert surest[1] > surest[0]


def test_no_texts_are_no_rows() -> None:
    assert features([]).shape[0] == 0


def test_words_weigh_one_together() -> None:
    hashed = features(["a b c", "a"])[:, :-2]
    assert np.sqrt(hashed.power(2).sum(axis=1)).ravel().tolist()[0] == pytest.approx([1.0, 1.0])
