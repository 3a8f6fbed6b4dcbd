from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from services.retrainer.first_token import FirstTokenBlock, only_first_token
from shared.classifier.model import Classifier
from tests.models import tiny_classifier

FULL = torch.tensor([[2, 40, 41, 3], [2, 42, 43, 3]])
PADDED = torch.tensor([[2, 40, 41, 3], [2, 42, 3, 0]])


@pytest.fixture
def model(tmp_path: Path) -> PreTrainedModel:
    return Classifier.load(tiny_classifier(tmp_path / "model")).model


def answers(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
    return logits


def answers_and_gradients(model: PreTrainedModel, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits = answers(model, ids)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return {**gradients, "answers": logits.detach()}


@pytest.mark.parametrize("ids", [FULL, PADDED], ids=["full", "padded"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_answers_and_gradients_are_those_of_the_whole_layer(
    model: PreTrainedModel, ids: torch.Tensor, attention: str
) -> None:
    model.set_attn_implementation(attention)
    whole = answers_and_gradients(model, ids)
    with only_first_token(model):
        torch.testing.assert_close(answers_and_gradients(model, ids), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("place", ["attention", "ffn"])
def test_what_the_layer_drops_in_training_is_dropped_here_too(model: PreTrainedModel, place: str) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5 if name == f"distilbert.transformer.layer.1.{place}.dropout" else 0.0
    model.train()
    with only_first_token(model):
        assert not answers(model, FULL).equal(answers(model, FULL))
        model.eval()
        assert answers(model, FULL).equal(answers(model, FULL))


def test_the_weights_keep_their_names(model: PreTrainedModel) -> None:
    names = model.state_dict().keys()
    with only_first_token(model):
        assert model.state_dict().keys() == names
        assert [name for name, part in model.named_modules() if isinstance(part, FirstTokenBlock)] == [
            "distilbert.transformer.layer.1"
        ]


def test_the_layer_is_put_back_after_an_error(model: PreTrainedModel) -> None:
    before = [*model.modules()]
    with pytest.raises(KeyError), only_first_token(model):
        raise KeyError
    assert [*model.modules()] == before


def test_other_models_stay_as_they_are() -> None:
    config = BertConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, pad_token_id=0
    )
    bert = BertForSequenceClassification(config)
    before = [*bert.modules()]
    with only_first_token(bert):
        assert [*bert.modules()] == before
