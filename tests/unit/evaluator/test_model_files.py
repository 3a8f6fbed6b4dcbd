"""A model's files are fetched and checked once, and one that is damaged is fetched anew."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.evaluator import model_files
from services.evaluator.exam import Model
from services.evaluator.model_files import ModelFiles
from shared.classifier.digest import model_digest, verify
from shared.errors import ModelError
from shared.registry import Registry
from shared.settings import load_settings
from tests.models import tiny_classifier


class Shelf(Registry):
    """A registry whose every version is a copy of one folder."""

    def __init__(self, source: Path, **stream: object) -> None:
        self.settings = load_settings(
            home=source.parent, registry={"tracking_uri": "http://127.0.0.1:9"}, model={"device": "cpu"}, stream=stream
        )
        super().__init__(self.settings)
        self.source = source
        self.downloads: list[str] = []

    def download(self, version: str, folder: Path) -> Path:
        if not folder.exists():
            shutil.copytree(self.source, folder)
            self.downloads.append(version)
        return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("shelf") / "model")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders whose digest was asked for."""
    found: list[str] = []

    def counting(folder: Path, digest: str) -> None:
        found.append(folder.name)
        verify(folder, digest)

    monkeypatch.setattr(model_files, "verify", counting)
    return found


Made = Callable[..., tuple[ModelFiles, Shelf, Model]]


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Made:
    def make(**stream: object) -> tuple[ModelFiles, Shelf, Model]:
        shelf = Shelf(source, **stream)
        return ModelFiles(shelf.settings, shelf, tmp_path / "models"), shelf, Model("3", model_digest(source))

    return make


def test_a_model_that_is_loaded_measured_and_timed_is_checked_once(made: Made, checked: list[str]) -> None:
    files, shelf, model = made()
    assert files.load(model).predict(["a fine film"]).predicted.shape == (1,)
    folder = files.folder(model)
    files.load(model)
    assert checked == [folder.name]
    assert shelf.downloads == ["3"]


def test_another_digest_under_the_same_number_is_another_model(made: Made, checked: list[str]) -> None:
    files, _, model = made()
    files.folder(model)
    with pytest.raises(ModelError):
        files.folder(Model("3", "f" * 64))
    assert len(checked) == 2


def test_a_damaged_download_is_refused_and_fetched_anew(made: Made) -> None:
    files, shelf, model = made()
    first = shelf.download("3", files.folder(model))
    files.keep_only([])
    shutil.copytree(shelf.source, first)
    next(first.rglob("*.safetensors")).write_bytes(b"half")
    with pytest.raises(ModelError):
        files.folder(model)
    assert not first.exists()
    files.load(model)


def test_what_is_not_needed_goes_and_is_checked_again_when_it_comes_back(made: Made, checked: list[str]) -> None:
    files, _, model = made()
    folder = files.folder(model)
    files.keep_only([model])
    assert folder.exists()
    files.keep_only([])
    assert not folder.exists()
    files.folder(model)
    assert len(checked) == 2


def test_a_model_of_other_labels_than_the_stream_is_refused(made: Made) -> None:
    files, _, model = made(labels=["bad", "good"])
    with pytest.raises(ModelError, match="version 3 has labels"):
        files.load(model)
