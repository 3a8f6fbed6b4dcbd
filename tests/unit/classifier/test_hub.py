"""What comes from the hub is kept flat, once for each revision, and never as pickle."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, BertForMaskedLM

from shared.classifier.hub import fetch_base, fetch_classifier
from shared.classifier.masked import MaskedModel
from shared.classifier.model import Classifier, new_classifier
from shared.errors import ConfigurationError
from tests.models import bert_base, tiny_masked


def test_a_base_comes_without_a_head_and_a_classifier_with_it(tiny_folder: Path, tmp_path: Path) -> None:
    base, classifier = (fetch(str(tiny_folder), tmp_path) for fetch in (fetch_base, fetch_classifier))
    assert "classifier.weight" not in load_file(base / "model.safetensors")
    assert Classifier.load(classifier).labels == ("negative", "positive")


def test_a_base_keeps_the_head_that_guesses_words(tmp_path: Path) -> None:
    masked = tiny_masked(tmp_path / "masked")
    base = fetch_base(str(masked), tmp_path)
    assert load_file(base / "model.safetensors").keys() == load_file(masked / "model.safetensors").keys()
    MaskedModel.load(base)
    assert new_classifier(base, ["n", "p"], seed=0).labels == ("n", "p")


def test_a_head_above_half_a_body_is_not_kept(tmp_path: Path) -> None:
    """BERT's body under that head has no pooler, which a classifier made of it would miss."""
    bert_base(tmp_path / "bert", BertForMaskedLM)
    assert "pooler.dense.weight" in load_file(fetch_base(str(tmp_path / "bert"), tmp_path) / "model.safetensors")


def test_each_revision_has_a_folder_of_its_own(tiny_folder: Path, tmp_path: Path) -> None:
    one, other, again = (fetch_base(str(tiny_folder), tmp_path, revision) for revision in ("a", "b", "a"))
    assert one == again != other


def test_the_revision_is_asked_for_without_remote_code(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    model = AutoModel.from_pretrained(tiny_folder)

    def from_pretrained(name: str, **options: Any) -> Any:
        asked.append({"name": name, **options})
        return model

    monkeypatch.setattr("shared.classifier.hub.AutoModel.from_pretrained", from_pretrained)
    fetch_base(str(tiny_folder), tmp_path, revision="0123abc")
    assert asked == [
        {"name": str(tiny_folder), "revision": "0123abc", "trust_remote_code": False, "use_safetensors": True}
    ]


def test_weights_in_pickle_only_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in tiny_folder.glob("*.json"):
        (source / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(tiny_folder / "model.safetensors"), source / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="safetensors"):
        fetch_base(str(source), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
