"""What is logged to MLflow answers the same through MLflow's own loader and through ours."""

import socket
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pytest
import yaml

from shared.classifier.digest import model_digest
from shared.classifier.mlflow_format import save_for_mlflow
from shared.classifier.model import Classifier

TEXTS = ["a good film", "bad", "good " * 500]


@pytest.fixture(scope="module")
def logged(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("mlflow") / "model"
    save_for_mlflow(tiny_folder, target, metadata={"window_id": "w-1"})
    return target


def test_anybodys_pyfunc_gives_our_answers(logged: Path, tiny: Classifier) -> None:
    frame = mlflow.pyfunc.load_model(str(logged)).predict(TEXTS)
    ours = tiny.predict(TEXTS)
    assert frame["label"].tolist() == ours.predicted_labels
    assert frame["score"].tolist() == pytest.approx(ours.probabilities.max(axis=1).tolist(), abs=1e-5)


def test_our_loader_reads_mlflows_layout(logged: Path, tiny: Classifier) -> None:
    loaded = Classifier.load(logged)
    assert loaded.labels == tiny.labels
    assert loaded.predict(TEXTS).logits.tolist() == tiny.predict(TEXTS).logits.tolist()


def test_the_digest_is_of_the_model_and_not_of_the_logging(logged: Path, tiny_folder: Path, tmp_path: Path) -> None:
    save_for_mlflow(tiny_folder, tmp_path / "again", metadata={"window_id": "another"})
    assert model_digest(tmp_path / "again") == model_digest(logged)


def test_requirements_are_pinned_and_metadata_kept(logged: Path) -> None:
    assert all("==" in line for line in (logged / "requirements.txt").read_text().split())
    assert yaml.safe_load((logged / "MLmodel").read_text())["metadata"] == {"window_id": "w-1"}


def test_saving_asks_nobody(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **options: asked.append(where))
    monkeypatch.setattr(socket.socket, "connect", lambda self, where: asked.append(where))
    save_for_mlflow(tiny_folder, tmp_path / "model")
    assert asked == []
