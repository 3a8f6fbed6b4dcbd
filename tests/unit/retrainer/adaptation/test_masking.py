"""What is masked depends on seed, epoch and row alone."""

import numpy as np
import pytest

from services.retrainer.adaptation.folder import TextRow
from services.retrainer.adaptation.masking import NOT_GUESSED, MaskedCollator, MaskedRows
from shared.classifier.masked import MaskedModel
from tests.models import tiny_masked
from tests.unit.retrainer.adaptation.builders import texts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedModel:
    return MaskedModel.load(tiny_masked(tmp_path_factory.mktemp("masked") / "model"))


def rows(model: MaskedModel, seed: int = 3, share: float = 0.3) -> MaskedRows:
    return MaskedRows(texts(200), model, max_tokens=64, mask_share=share, seed=seed)


def test_the_same_row_of_the_same_epoch_is_masked_alike_in_any_order(model: MaskedModel) -> None:
    forth, back = rows(model), rows(model)
    first = [forth[row] for row in range(200)]
    assert [back[row] for row in reversed(range(200))] == first[::-1]


def test_another_epoch_or_seed_masks_other_tokens(model: MaskedModel) -> None:
    here, later, elsewhere = rows(model), rows(model), rows(model, seed=4)
    later.epoch = 1
    differing = [sum(here[row] != other[row] for row in range(200)) for other in (later, elsewhere)]
    assert min(differing) > 150


def test_labels_are_the_true_tokens_where_they_must_be_guessed(model: MaskedModel) -> None:
    masked = rows(model)
    for row in range(200):
        labels, ids = masked[row]["labels"], masked.ids[row]
        guessed = [place for place, label in enumerate(labels) if label != NOT_GUESSED]
        assert guessed
        assert [labels[place] for place in guessed] == [ids[place] for place in guessed]
        assert not {ids[place] for place in guessed} & model.special_ids
        untouched = [place for place in range(len(ids)) if place not in guessed]
        assert [masked[row]["input_ids"][place] for place in untouched] == [ids[place] for place in untouched]


def test_of_the_guessed_tokens_eight_in_ten_are_masked_and_one_is_random(model: MaskedModel) -> None:
    masked = rows(model)
    seen: list[tuple[int, int]] = []
    for epoch in range(10):
        masked.epoch = epoch
        for row in range(200):
            found = masked[row]
            seen += [
                (shown, true) for shown, true in zip(found["input_ids"], found["labels"], strict=True) if true >= 0
            ]
    shown, true = np.array(seen).T
    assert np.mean(shown == model.mask_id) == pytest.approx(0.8, abs=0.02)
    assert np.mean(shown == true) == pytest.approx(0.1, abs=0.02)
    assert not set(shown[shown != model.mask_id].tolist()) & model.special_ids


def test_a_batch_is_padded_and_padding_is_not_guessed(model: MaskedModel) -> None:
    short, long = (TextRow(window_id="u", offset=place, text=text) for place, text in enumerate(["fun", "fun " * 9]))
    masked = MaskedRows([short, long], model, max_tokens=64, mask_share=0.5, seed=1)
    batch = MaskedCollator(model)([masked[0], masked[1]])
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 11)
    assert batch["attention_mask"].sum(1).tolist() == [3, 11]
    assert batch["labels"][0, 3:].unique().tolist() == [NOT_GUESSED]


def test_a_text_without_words_has_nothing_to_guess(model: MaskedModel) -> None:
    masked = MaskedRows([TextRow(window_id="u", offset=0, text="")], model, max_tokens=64, mask_share=0.5, seed=1)
    assert set(masked[0]["labels"]) == {NOT_GUESSED}
