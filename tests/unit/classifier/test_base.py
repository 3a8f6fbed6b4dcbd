"""Bases open by name, once, and the bundled one is exactly the BERT that it was made from."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertModel, DistilBertModel

from shared.classifier.base import open_base
from shared.classifier.bundled import bundled_source
from shared.classifier.digest import model_digest
from shared.errors import ConfigurationError, ModelError

TEXTS = ["A moving film, beautifully acted.", "Dull!", "naïve café — 10/10 👍", "word " * 600]


def test_the_bundled_base_agrees_with_bert_in_every_layer(bundled_base: Path) -> None:
    bert, distilbert = (
        kind.from_pretrained(folder).train(False)
        for kind, folder in ((BertModel, bundled_source()), (DistilBertModel, bundled_base))
    )
    batch = AutoTokenizer.from_pretrained(bundled_base)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    with torch.inference_mode():
        expected = bert(**batch, output_hidden_states=True).hidden_states
        found = distilbert(**batch, output_hidden_states=True).hidden_states
    assert len(found) == len(expected) == 7
    for theirs, ours in zip(expected, found, strict=True):
        assert (theirs - ours)[real].abs().max() < 1e-5


def test_the_bundled_tokenizer_gives_the_packaged_ids(bundled_base: Path) -> None:
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in (bundled_base, bundled_source()))
    assert ours(TEXTS, truncation=True)["input_ids"] == theirs(TEXTS, truncation=True, max_length=512)["input_ids"]
    assert ours.model_input_names == ["input_ids", "attention_mask"]


def test_converting_again_gives_the_same_digest(bundled_base: Path, tmp_path: Path) -> None:
    assert model_digest(open_base("bundled", tmp_path)) == model_digest(bundled_base)


def test_a_base_is_made_once(tmp_path: Path) -> None:
    first = open_base("tiny", tmp_path)
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert open_base("tiny", tmp_path) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_tiny_base_is_the_same_everywhere(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = model_digest(open_base("tiny", tmp_path / "a"))
    torch.manual_seed(2)
    assert model_digest(open_base("tiny", tmp_path / "b")) == one


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    base = open_base("tiny", tmp_path)
    assert open_base(str(base), tmp_path / "unused") == base
    assert not (tmp_path / "unused").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_base(str(tmp_path), tmp_path)


def test_a_hub_model_that_cannot_be_had_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="nobody/nothing"):
        open_base("nobody/nothing", tmp_path, revision="0123abc")
    assert list(tmp_path.iterdir()) == []
