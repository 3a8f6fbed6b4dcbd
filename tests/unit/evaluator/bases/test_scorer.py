"""Both bases and both classifiers are asked; their own faults make a base unusable, anything else says nothing."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from services.evaluator.bases.exam import BaseExam
from services.evaluator.bases.gate import Comparison
from services.evaluator.bases.guesses import saving
from services.evaluator.bases.scorer import examine
from services.evaluator.exam import Failure, Model, Unavailable, Unusable
from shared.classifier.digest import model_digest
from shared.classifier.masked import MaskedModel
from shared.errors import ModelError, RegistryRefusedError, RegistryUnavailableError
from shared.exam import EXAM_FOLDER, PARENT, PROBE_ADAPTED, PROBE_PARENT
from shared.mlflow_calls import MissingError
from shared.registry import Registry
from shared.settings import Settings, load_settings
from tests.models import answering, knowing, tiny_classifier, tiny_masked
from tests.unit.evaluator.builders import row

TEXTS = tuple(f"the film was good and the plot was {word}" for word in ("slow", "fun", "bad", "dull", "great", "best"))
ROWS = tuple(row(0, place, text, label=place % 2) for place, text in enumerate(TEXTS))


@dataclass(frozen=True)
class Files:
    """What the run holds: the adapted base in `model`, and the exam."""

    model: Path
    exam: Path

    def questions(self) -> BaseExam:
        base = Model("1", model_digest(self.model))
        return BaseExam(base, "run-1", model_digest(self.exam), TEXTS, ROWS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """An adapted base that knows the texts' words; its classifier says positive where the parent's says negative."""
    folder = tmp_path_factory.mktemp("run")
    knowing(folder / "model", TEXTS)
    tiny_masked(folder / EXAM_FOLDER / PARENT)
    answering(folder / EXAM_FOLDER / PROBE_PARENT, "negative")
    answering(folder / EXAM_FOLDER / PROBE_ADAPTED, "positive")
    shutil.rmtree(folder / EXAM_FOLDER / ".base")
    return Files(folder / "model", folder / EXAM_FOLDER)


@pytest.fixture
def files(made: Files, tmp_path: Path) -> Files:
    """The same, to be damaged."""
    return Files(*(Path(shutil.copytree(each, tmp_path / "run" / each.name)) for each in (made.model, made.exam)))


class Downloads(Registry):
    """A registry that holds these files, or fails in one way."""

    def __init__(self, settings: Settings, files: Files, failure: Exception | None = None) -> None:
        super().__init__(settings, model=settings.stream.registered_base)
        self._held, self._failure = files, failure

    def download(self, version: str, folder: Path) -> Path:
        return Path(shutil.copytree(self._held.model, folder, dirs_exist_ok=True))

    def fetch(self, run_id: str, name: str, folder: Path) -> Path:
        if self._failure is not None:
            raise self._failure
        return Path(shutil.copytree(self._held.exam, folder / name))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home", registry={"tracking_uri": "http://127.0.0.1:9"}, model={"device": "cpu", "threads": 1}
    )


def outcome(
    settings: Settings, files: Files, questions: BaseExam | None = None, failure: Exception | None = None
) -> Comparison | Failure:
    return examine(questions or files.questions(), settings, Downloads(settings, files, failure))


def test_both_bases_guess_and_both_classifiers_answer(settings: Settings, made: Files) -> None:
    found = outcome(settings, made)
    assert isinstance(found, Comparison)
    assert found.guesses.rows == len(TEXTS)
    saved = saving(found.guesses, 0.05)
    assert saved is not None
    assert saved.nats > 0.1
    assert saved.p_fewer < 0.05
    assert found.right_after.tolist() == [False, True] * 3
    np.testing.assert_array_equal(found.right_before, ~found.right_after)


def test_without_reviews_there_is_nothing_to_compare_and_nothing_fails(settings: Settings, made: Files) -> None:
    found = outcome(settings, made, replace(made.questions(), texts=(), rows=()))
    assert isinstance(found, Comparison)
    assert (found.guesses.rows, found.flips.rows) == (0, 0)


def damaged_base(files: Files) -> BaseExam:
    questions = files.questions()
    (files.model / "config.json").write_text("{}")
    return questions


def damaged_exam(files: Files) -> BaseExam:
    questions = files.questions()
    (files.exam / PARENT / "model.safetensors").write_bytes(b"\0" * 100)
    return questions


def exam_without_a_model(files: Files) -> BaseExam:
    shutil.rmtree(files.exam / PROBE_ADAPTED)
    return files.questions()


def parent_without_a_head(files: Files) -> BaseExam:
    shutil.rmtree(files.exam / PARENT)
    shutil.copytree(files.exam / PROBE_PARENT, files.exam / PARENT)
    return files.questions()


def classifier_of_other_labels(files: Files) -> BaseExam:
    shutil.rmtree(files.exam / PROBE_ADAPTED)
    tiny_classifier(files.exam / PROBE_ADAPTED, ("bad", "good"))
    shutil.rmtree(files.exam / ".base")
    return files.questions()


def parent_with_other_words(files: Files) -> BaseExam:
    parent = MaskedModel.load(files.exam / PARENT)
    parent.tokenizer.add_tokens(["tidemill"])
    parent.model.resize_token_embeddings(len(parent.tokenizer))
    parent.save(files.exam / PARENT)
    return files.questions()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (damaged_base, "digest is"),
        (damaged_exam, "digest is"),
        (exam_without_a_model, PROBE_ADAPTED),
        (parent_without_a_head, "weights are missing"),
        (classifier_of_other_labels, "its labels are"),
        (parent_with_other_words, "different words"),
    ],
)
def test_what_is_wrong_with_the_candidates_own_files_makes_it_unusable(
    settings: Settings, files: Files, spoil: Callable[[Files], BaseExam], says: str
) -> None:
    found = outcome(settings, files, spoil(files))
    assert isinstance(found, Unusable)
    assert says in found.reason


def test_a_run_without_an_exam_makes_it_unusable(settings: Settings, made: Files) -> None:
    found = outcome(settings, made, failure=MissingError("no such path"))
    assert isinstance(found, Unusable)
    assert "run run-1 has no folder exam" in found.reason


@pytest.mark.parametrize(
    "failure", [RegistryUnavailableError("gone"), RegistryRefusedError("no right"), OSError("disk full")]
)
def test_a_fault_outside_the_candidate_does_not_reject_it(settings: Settings, made: Files, failure: Exception) -> None:
    assert outcome(settings, made, failure=failure) == Unavailable(str(failure))


def test_files_stay_only_while_the_exam_will_be_tried_again(settings: Settings, made: Files) -> None:
    kept = settings.home.resolve() / "evaluator" / "bases" / settings.stream.folder
    outcome(settings, made, failure=RegistryUnavailableError("gone"))
    assert list((kept / "models").iterdir())
    outcome(settings, made)
    assert not kept.exists()
    outcome(settings, made, failure=ModelError("spoilt"))
    assert not kept.exists()
