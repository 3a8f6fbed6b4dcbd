from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from services.retrainer.vocabulary import only_occurring
from shared.classifier.model import Classifier
from tests.models import tiny_classifier

PADDING, ABSENT = 0, 7
BATCHES = [torch.tensor([[2, 40, 41, 3], [2, 42, 3, PADDING]]), torch.tensor([[2, 50, 51, 3], [2, 41, 41, 3]])]
WORDS = frozenset({PADDING, 2, 3, 40, 41, 42, 50, 51})


@pytest.fixture
def model(tmp_path: Path) -> PreTrainedModel:
    return Classifier.load(tiny_classifier(tmp_path / "model")).model


def twin(model: PreTrainedModel) -> PreTrainedModel:
    other = type(model)(model.config)
    other.load_state_dict(model.state_dict())
    return other.eval()


def table(model: PreTrainedModel) -> torch.Tensor:
    weight: torch.Tensor = model.get_input_embeddings().weight.detach()
    return weight


def learn(model: PreTrainedModel, weight_decay: float = 0.1) -> None:
    """Some clipped steps without chance in them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=weight_decay)
    for ids in BATCHES * 3:
        answers = model(input_ids=ids, attention_mask=(ids != PADDING).long()).logits
        nn.functional.cross_entropy(answers, torch.tensor([0, 1])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        model.zero_grad()


def test_the_same_is_learned_as_with_all_words(model: PreTrainedModel) -> None:
    whole = twin(model)
    learn(whole)
    with only_occurring(model, WORDS):
        learn(model)
    torch.testing.assert_close(table(model)[[*WORDS]], table(whole)[[*WORDS]], rtol=0, atol=1e-5)
    rest = {name for name in model.state_dict() if "word_embeddings" not in name}
    torch.testing.assert_close(
        {name: model.state_dict()[name] for name in rest},
        {name: whole.state_dict()[name] for name in rest},
        rtol=0,
        atol=1e-5,
    )


def test_words_that_do_not_occur_are_as_they_were_and_the_others_are_not(model: PreTrainedModel) -> None:
    before = table(model).clone()
    with only_occurring(model, WORDS):
        learn(model)
    changed = (table(model) != before).any(dim=1).nonzero().flatten().tolist()
    assert set(changed) == WORDS - {PADDING}  # whose vector is zero


def test_padding_learns_nothing(model: PreTrainedModel) -> None:
    before = table(model)[PADDING].clone()
    with only_occurring(model, WORDS):
        learn(model, weight_decay=0.0)
    assert table(model)[PADDING].equal(before)


def test_a_word_that_was_not_named_is_an_error_and_leaves_the_model_whole(model: PreTrainedModel) -> None:
    whole = model.get_input_embeddings()
    with pytest.raises(IndexError), only_occurring(model, WORDS):
        model(input_ids=torch.tensor([[2, ABSENT, 3]]))
    assert model.get_input_embeddings() is whole


def test_it_holds_the_named_words_only_under_the_same_name(model: PreTrainedModel) -> None:
    before = model.state_dict()
    with only_occurring(model, WORDS):
        within = model.state_dict()
        assert within.keys() == before.keys()
        assert len(table(model)) == len(WORDS) < len(before["distilbert.embeddings.word_embeddings.weight"])
    assert model.state_dict().keys() == before.keys()


def test_words_that_are_not_trained_stay_where_they_are(model: PreTrainedModel) -> None:
    words = model.get_input_embeddings()
    words.requires_grad_(False)
    with only_occurring(model, WORDS):
        assert model.get_input_embeddings() is words
