"""The digest is of names and contents, and of nothing that MLflow writes around them."""

import shutil
from pathlib import Path

import pytest

from shared.classifier.digest import MLFLOW_FILES, model_digest, verify
from shared.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m" / "model").mkdir(parents=True)
    (tmp_path / "m" / "model" / "config.json").write_text("{}")
    (tmp_path / "m" / "model" / "weights").write_bytes(b"abc")
    return tmp_path / "m"


def test_a_copy_has_the_same_digest(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert model_digest(copy) == model_digest(folder)
    verify(copy, model_digest(folder))


@pytest.mark.parametrize("name", sorted(MLFLOW_FILES))
def test_mlflows_own_files_do_not_count(folder: Path, name: str) -> None:
    before = model_digest(folder)
    (folder / name).write_text("run_id: 1")
    assert model_digest(folder) == before


def test_the_same_names_count_deeper_down(folder: Path) -> None:
    before = model_digest(folder)
    (folder / "model" / "MLmodel").write_text("run_id: 1")
    assert model_digest(folder) != before


@pytest.mark.parametrize("name", ["model/weights", "model/config.json"])
def test_a_changed_byte_is_found(folder: Path, name: str) -> None:
    expected = model_digest(folder)
    (folder / name).write_bytes(b"abd")
    with pytest.raises(ModelError, match=expected):
        verify(folder, expected)


def test_a_file_that_came_went_or_moved_is_found(folder: Path) -> None:
    digests = [model_digest(folder)]
    (folder / "model" / "weights").rename(folder / "weights")
    digests.append(model_digest(folder))
    (folder / "more").write_bytes(b"")
    digests.append(model_digest(folder))
    (folder / "weights").unlink()
    digests.append(model_digest(folder))
    assert len(set(digests)) == 4


@pytest.mark.parametrize("name", ["nowhere", "m/empty"])
def test_no_files_are_no_model(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ModelError, match="no model files"):
        model_digest(tmp_path / name)
