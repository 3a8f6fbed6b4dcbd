"""A classifier survives saving and loading, and refuses what is not a whole model of safetensors and JSON."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM

from shared.classifier.base import open_base
from shared.classifier.model import Classifier, new_classifier
from shared.errors import ModelError
from tests.models import answering, bert_base, biased_tiny, tiny_classifier

TEXTS = ["a good film", "a bad film", "it is a film"]
Damage = Callable[[Path], None]


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def test_a_saved_model_answers_as_before(tiny: Classifier, tmp_path: Path) -> None:
    tiny.save(tmp_path / "again")
    again = Classifier.load(tmp_path / "again")
    assert again.labels == tiny.labels == ("negative", "positive")
    np.testing.assert_array_equal(again.predict(TEXTS).logits, tiny.predict(TEXTS).logits)


def test_only_safetensors_and_json_are_written(tiny_folder: Path) -> None:
    assert {path.suffix for path in tiny_folder.iterdir()} == {".safetensors", ".json"}


def test_saving_leaves_the_tokenizer_without_padding_or_truncation(tiny: Classifier, tmp_path: Path) -> None:
    tiny.tokenizer(TEXTS, padding="max_length", truncation=True, max_length=9)
    tiny.save(tmp_path / "again")
    tokenizer = json.loads((tmp_path / "again" / "tokenizer.json").read_text())
    assert (tokenizer["padding"], tokenizer["truncation"]) == (None, None)


def test_labels_keep_their_order_beyond_ten(tmp_path: Path) -> None:
    labels = tuple(f"class {number}" for number in range(12))
    assert Classifier.load(tiny_classifier(tmp_path / "m", labels)).labels == labels


def test_max_tokens_narrows_the_window_and_never_widens_it(tiny_folder: Path) -> None:
    assert Classifier.load(tiny_folder, max_tokens=16).predict(["good " * 50]).tokens.tolist() == [16]
    assert Classifier.load(tiny_folder, max_tokens=9999).window == 128


def test_bf16_answers_nearly_as_fp32(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.classifier.precision.supports_bf16", lambda device: True)
    rough, exact = (Classifier.load(tiny_folder, precision=kind).predict(TEXTS) for kind in ("bf16", "fp32"))
    assert rough.probabilities.dtype == np.float32
    np.testing.assert_allclose(rough.probabilities, exact.probabilities, atol=0.02)


def test_a_fresh_head_depends_on_the_seed_alone(tmp_path: Path) -> None:
    base = open_base("tiny", tmp_path)
    one, same, other = (new_classifier(base, ["n", "p"], seed).predict(TEXTS).logits for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_making_a_head_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    base = open_base("tiny", tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    new_classifier(base, ["n", "p"], seed=1)
    torch.testing.assert_close(torch.rand(3), expected)


def test_the_body_under_a_fresh_head_is_the_bases(tmp_path: Path) -> None:
    base = open_base("tiny", tmp_path)
    body = new_classifier(base, ["a", "b", "c"], seed=3).model.base_model.state_dict()
    weights = load_file(base / "model.safetensors")
    assert set(body) == set(weights)
    for name, tensor in weights.items():
        torch.testing.assert_close(body[name], tensor, rtol=0, atol=0)


def test_a_classifiers_own_head_is_not_taken_for_a_base(tiny_folder: Path, tiny: Classifier) -> None:
    fresh = new_classifier(tiny_folder, tiny.labels, seed=9)
    assert not np.allclose(fresh.predict(TEXTS).logits, tiny.predict(TEXTS).logits)


def test_a_pooler_that_the_base_lacks_is_part_of_the_fresh_head(tmp_path: Path) -> None:
    base = bert_base(tmp_path / "bert", BertForMaskedLM)
    one, same, other = (new_classifier(base, ["n", "p"], seed).model for seed in (1, 1, 2))
    for name, weight in load_file(base / "model.safetensors").items():
        if name.startswith("bert."):
            torch.testing.assert_close(one.state_dict()[name], weight, rtol=0, atol=0)
    pooler = "bert.pooler.dense.weight"
    torch.testing.assert_close(one.state_dict()[pooler], same.state_dict()[pooler], rtol=0, atol=0)
    assert not torch.equal(one.state_dict()[pooler], other.state_dict()[pooler])


@pytest.mark.parametrize("labels", [[], ["one"], ["same", "same"]])
def test_a_head_needs_two_different_labels(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(ValueError, match="two or more different labels"):
        new_classifier(open_base("tiny", tmp_path), labels, seed=0)


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def drop_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if name != "classifier.weight"}, _weights(folder))


def shrink_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "classifier.weight": torch.zeros(7, 32)}, _weights(folder))


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    _weights(folder).unlink()


def bring_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoModelForSequenceClassification": "theirs.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def garble(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_text("{not json")

    return damage


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(cut_weights, id="weights cut off"),
        pytest.param(drop_head, id="head missing"),
        pytest.param(shrink_head, id="head of another shape"),
        pytest.param(pickle_weights, id="weights in pickle only"),
        pytest.param(bring_code, id="code of its own"),
        pytest.param(garble("config.json"), id="config garbled"),
        pytest.param(garble("tokenizer.json"), id="tokenizer garbled"),
        pytest.param(remove("config.json"), id="config missing"),
        pytest.param(remove("model.safetensors"), id="weights missing"),
    ],
)
def test_a_damaged_model_is_refused_and_named(copy: Path, damage: Damage) -> None:
    damage(copy)
    with pytest.raises(ModelError, match=str(copy)):
        Classifier.load(copy)
    assert not (copy / "ran").exists()


def test_a_missing_tokenizer_is_refused(copy: Path) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=str(copy)):
        Classifier.load(copy)


def test_a_damaged_base_is_refused(tmp_path: Path) -> None:
    base = open_base("tiny", tmp_path)
    weights = load_file(base / "model.safetensors")
    weights.pop("transformer.layer.1.ffn.lin1.weight")
    save_file(weights, base / "model.safetensors")
    with pytest.raises(ModelError, match=r"ffn\.lin1\.weight"):
        new_classifier(base, ["n", "p"], seed=0)


def test_test_models_can_be_told_apart(tmp_path: Path) -> None:
    for label in ("negative", "positive"):
        scores = Classifier.load(answering(tmp_path / label, label)).predict(TEXTS)
        assert scores.predicted_labels == [label] * 3
        assert scores.probabilities.max(axis=1) == pytest.approx([1 / (1 + np.exp(-6))] * 3)
    plain = Classifier.load(tiny_classifier(tmp_path / "plain")).predict(TEXTS).logits
    biased = Classifier.load(biased_tiny(tmp_path / "biased", [0.0, 2.0])).predict(TEXTS).logits
    np.testing.assert_allclose(biased - plain, [[0.0, 2.0]] * 3, atol=1e-5)
