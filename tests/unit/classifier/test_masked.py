"""Two bases that guess the same words can be compared; what cannot guess is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import BertForMaskedLM, BertModel

from shared.classifier.base import open_base
from shared.classifier.masked import MaskedModel, guessed_places, guessing_only_at, masked_losses, with_word_head
from shared.classifier.model import Classifier, new_classifier
from shared.errors import ModelError
from tests.models import bert_base, tiny_classifier, tiny_masked

TEXTS = ["a good film", "", "the plot was slow and the director was bad , but the music was good", "film"]
SHARE, MAX_TOKENS = 0.3, 64
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_masked(tmp_path_factory.mktemp("masked") / "one")


@pytest.fixture(scope="module")
def model(folder: Path) -> MaskedModel:
    return MaskedModel.load(folder)


def test_a_saved_base_guesses_as_before(model: MaskedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "again")
    again = MaskedModel.load(tmp_path / "again")
    before, after = (
        masked_losses(each, TEXTS, mask_share=SHARE, max_tokens=MAX_TOKENS).nats for each in (model, again)
    )
    np.testing.assert_array_equal(before, after)
    assert {path.suffix for path in (tmp_path / "again").iterdir()} == {".safetensors", ".json"}


def test_what_it_loses_is_the_cross_entropy_of_the_masked_words(model: MaskedModel) -> None:
    """With every word masked there is no choice, so that the sum can be made by hand."""
    text = "a good film"
    found = masked_losses(model, [text], mask_share=0.99, max_tokens=MAX_TOKENS)
    ids = torch.tensor(model.tokenizer(text)["input_ids"])
    masked = ids.clone()
    masked[1:-1] = model.mask_id
    with torch.inference_mode():
        logits = model.model(input_ids=masked[None]).logits[0, 1:-1]
    expected = functional.cross_entropy(logits, ids[1:-1], reduction="sum").item()
    assert found.guesses.tolist() == [3]
    assert found.nats.tolist() == pytest.approx([expected], rel=1e-5)
    assert (found.mean, found.perplexity) == pytest.approx((expected / 3, np.exp(expected / 3)), rel=1e-5)


def test_a_text_costs_the_same_in_any_company(model: MaskedModel) -> None:
    together = masked_losses(model, TEXTS, mask_share=SHARE, max_tokens=MAX_TOKENS, token_budget=32)
    alone = [masked_losses(model, [text], mask_share=SHARE, max_tokens=MAX_TOKENS) for text in TEXTS]
    assert together.guesses.tolist() == [int(each.guesses[0]) for each in alone]
    np.testing.assert_allclose(together.nats, [each.nats[0] for each in alone], rtol=1e-5)


def test_two_models_are_asked_for_the_same_words(
    model: MaskedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[list[int]]] = []

    def noted(guesser: MaskedModel, rows: list[list[int]], places: list[list[int]]) -> np.ndarray:
        asked.append(places)
        return np.zeros(len(rows))

    monkeypatch.setattr("shared.classifier.masked._nats", noted)
    other = MaskedModel.load(tiny_masked(tmp_path / "other", seed=1))
    for each in (model, other):
        masked_losses(each, TEXTS, mask_share=SHARE, max_tokens=MAX_TOKENS)
    assert asked[0] == asked[1]
    assert all(places for places in asked[0])


def test_a_text_without_words_is_not_asked(model: MaskedModel) -> None:
    found = masked_losses(model, ["", "[SEP] [UNK]"], mask_share=SHARE, max_tokens=MAX_TOKENS)
    assert (found.guesses.tolist(), found.nats.tolist()) == ([0, 0], [0.0, 0.0])
    assert np.isnan(found.mean)


def test_longer_texts_are_cut(model: MaskedModel) -> None:
    long = "film " * 500
    assert masked_losses(model, [long], mask_share=0.5, max_tokens=22).guesses.tolist() == [10]
    assert masked_losses(model, [long], mask_share=0.5, max_tokens=9999).guesses.tolist() == [(128 - 2) // 2]


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.15, 2), (0.3, 3), (0.5, 5), (0.99, 10)])
def test_a_share_of_the_words_is_guessed_and_never_none(share: float, count: int) -> None:
    ids = [2, *range(10, 20), 3]
    found = guessed_places(ids, frozenset({2, 3}), share, np.random.default_rng(0))
    assert len(set(found)) == count
    assert found == sorted(found)
    assert set(found) <= set(range(1, 11))


def test_the_head_looks_at_no_more_than_it_is_asked(model: MaskedModel) -> None:
    ids = torch.tensor([[2, 9, 40, 41, 3], [2, 50, 51, 52, 3]])
    places = torch.zeros_like(ids, dtype=torch.bool)
    places[0, 2] = places[1, 1] = places[1, 3] = True
    with torch.inference_mode():
        every = model.model(input_ids=ids).logits
        with guessing_only_at(model.model, places):
            some = model.model(input_ids=ids).logits
        again = model.model(input_ids=ids).logits
    torch.testing.assert_close(some, every[places])
    assert again.shape == every.shape


def test_a_base_without_a_head_gets_one_that_depends_on_the_seed_alone(tmp_path: Path) -> None:
    base = open_base("tiny", tmp_path)
    (one, fresh), (same, _) = (with_word_head(base, seed=1) for _ in range(2))
    assert fresh
    for name, tensor in one.model.state_dict().items():
        torch.testing.assert_close(same.model.state_dict()[name], tensor, rtol=0, atol=0)
    body = load_file(base / "model.safetensors")
    for name, tensor in one.model.base_model.state_dict().items():
        torch.testing.assert_close(body[name], tensor, rtol=0, atol=0)
    embeddings = one.model.get_input_embeddings().weight
    assert one.model.get_output_embeddings().weight is embeddings


def test_a_base_keeps_the_head_that_it_has(folder: Path, model: MaskedModel) -> None:
    again, fresh = with_word_head(folder, seed=7)
    assert not fresh
    for name, tensor in again.model.state_dict().items():
        torch.testing.assert_close(model.model.state_dict()[name], tensor, rtol=0, atol=0)


def test_any_transformer_can_guess(tmp_path: Path) -> None:
    """The head of a BERT is one module, and it comes without one when it was saved as a body."""
    own, fresh = (with_word_head(bert_base(tmp_path / kind.__name__, kind), 1) for kind in (BertForMaskedLM, BertModel))
    assert (own[1], fresh[1]) == (False, True)
    for model, _ in (own, fresh):
        found = masked_losses(model, TEXTS, mask_share=SHARE, max_tokens=MAX_TOKENS)
        assert found.guesses.tolist() == [1, 0, 4, 1]
        assert np.isfinite(found.mean)
        assert model.model.get_output_embeddings().weight is model.model.get_input_embeddings().weight


def test_a_classifier_can_grow_from_an_adapted_base(folder: Path, model: MaskedModel) -> None:
    body = new_classifier(folder, ["n", "p"], seed=3).model.base_model.state_dict()
    for name, tensor in model.model.base_model.state_dict().items():
        torch.testing.assert_close(body[name], tensor, rtol=0, atol=0)


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def drop_bias(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if name != "vocab_projector.bias"},
        folder / "model.safetensors",
    )


def forget_the_mask(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((folder / name).read_text().replace("[MASK]", "[GONE]"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast", "mask_token": None})
    )


@pytest.mark.parametrize("damage", [cut_weights, drop_bias, forget_the_mask])
def test_what_cannot_guess_is_refused(tmp_path: Path, damage: Damage) -> None:
    copy = tiny_masked(tmp_path / "copy")
    damage(copy)
    with pytest.raises(ModelError, match="copy"):
        MaskedModel.load(copy)


def test_a_base_or_a_classifier_is_no_masked_model(tmp_path: Path) -> None:
    for folder in (open_base("tiny", tmp_path), tiny_classifier(tmp_path / "classifier")):
        with pytest.raises(ModelError, match="weights are missing"):
            MaskedModel.load(folder)


def test_a_masked_model_is_no_classifier(folder: Path) -> None:
    with pytest.raises(ModelError):
        Classifier.load(folder)
