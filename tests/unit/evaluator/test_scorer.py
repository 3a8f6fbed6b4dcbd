"""Whatever is wrong outside the challenger says nothing about it, and answers are kept by all that they depend on."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.evaluator import model_files, scorer
from services.evaluator.exam import CHALLENGER, Contender, Exam, Measured, Model, Unavailable, Unusable, waiting_role
from services.evaluator.scorer import examine
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.predictor import Scores
from shared.errors import DeviceLostError, ModelError, RegistryRefusedError
from shared.registry import Registry
from shared.settings import Settings, load_settings
from tests.unit.evaluator.builders import LABELS, exam

EXAM = exam([0], rows_each=4, newest=0, champion=False)


class Optimist:
    """A model of any version that counts how often it was asked."""

    name, labels, has_scores = "optimist", LABELS, True

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, texts: list[str]) -> Scores:
        self.asked += len(texts)
        return Scores.from_probabilities(LABELS, np.tile([0.2, 0.8], (len(texts), 1)))


class Downloads(Registry):
    """A registry that has every version, or fails in one way."""

    def __init__(self, settings: Settings, failure: Exception | None = None) -> None:
        super().__init__(settings)
        self._failure = failure

    def download(self, version: str, folder: Path) -> Path:
        if self._failure is not None:
            raise self._failure
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Optimist:
    found = Optimist()
    monkeypatch.setattr(model_files, "verify", lambda folder, digest: None)
    monkeypatch.setattr(scorer, "prove", lambda classifier, labels: None)
    monkeypatch.setattr(AnsweringClassifier, "load", lambda *args, **more: found)
    return found


def settings(folder: Path, max_tokens: int = 64, baseline: str = "majority") -> Settings:
    return load_settings(
        home=folder,
        registry={"tracking_uri": "http://127.0.0.1:9"},
        model={"max_tokens": max_tokens, "device": "cpu"},
        evaluator={"gate": {"baseline": baseline}},
    )


def outcome(folder: Path, failure: Exception | None = None, questions: Exam = EXAM) -> object:
    chosen = settings(folder)
    return examine(questions, chosen, Downloads(chosen, failure))


@pytest.mark.parametrize(
    "failure",
    [
        RegistryRefusedError("no right"),
        OSError("disk full"),
        sqlite3.OperationalError("locked"),
        DeviceLostError("the GPU computes nothing more"),
    ],
)
def test_a_fault_outside_the_challenger_does_not_reject_it(tmp_path: Path, failure: Exception) -> None:
    assert outcome(tmp_path, failure) == Unavailable(str(failure))


def test_a_challenger_without_its_files_is_unusable(tmp_path: Path) -> None:
    assert outcome(tmp_path, ModelError("its weights are gone")) == Unusable("its weights are gone")


def test_pictures_that_cannot_be_drawn_do_not_hold_up_the_decision(
    tmp_path: Path, model: Optimist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "draw_all", lambda *args: 1 / 0)
    found = outcome(tmp_path)
    assert isinstance(found, Measured)
    assert found.exhibits == {}


def test_everybody_on_trial_has_pictures_and_the_rows_that_flipped(tmp_path: Path, model: Optimist) -> None:
    waiting = Contender(waiting_role("1"), Model("1", "f" * 64), np.array([True, False, False, False]))
    found = outcome(tmp_path, questions=replace(EXAM, waiting=(waiting,), label_counts={"negative": 4}))
    assert isinstance(found, Measured)
    rows = {role: [row.offset for row in exhibit.flipped] for role, exhibit in found.exhibits.items()}
    assert rows == {CHALLENGER: [0, 1, 2, 3], waiting.role: [0]}
    pictures = [picture for exhibit in found.exhibits.values() for picture in exhibit.pictures]
    assert len({picture for picture in pictures if picture.exists()}) == 2 * 4


def test_answers_to_texts_cut_elsewhere_are_not_taken(tmp_path: Path, model: Optimist) -> None:
    for max_tokens, asked in [(64, 4), (64, 4), (32, 8)]:
        chosen = settings(tmp_path, max_tokens)
        assert isinstance(examine(EXAM, chosen, Downloads(chosen)), Measured)
        assert model.asked == asked


def test_a_baselines_answers_in_another_order_of_labels_are_not_taken(
    tmp_path: Path, model: Optimist, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = Optimist()
    monkeypatch.setattr(scorer, "open_baseline", lambda *args: baseline)
    for labels, asked in [(LABELS, 4), (LABELS, 4), (LABELS[::-1], 8)]:
        chosen = settings(tmp_path, baseline="some-model")
        chosen = chosen.model_copy(update={"stream": chosen.stream.model_copy(update={"labels": labels})})
        monkeypatch.setattr(model, "labels", labels, raising=False)
        assert isinstance(examine(EXAM, chosen, Downloads(chosen)), Measured)
        assert baseline.asked == asked


def test_what_a_killed_scorer_left_half_downloaded_is_swept(tmp_path: Path, model: Optimist) -> None:
    half = tmp_path / "evaluator" / "models" / ".building-abc"
    half.mkdir(parents=True)
    outcome(tmp_path)
    assert not half.exists()
