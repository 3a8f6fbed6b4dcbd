from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from services.retrainer.trainable import adapted, freeze, merged
from shared.classifier.base import open_base
from shared.classifier.model import new_classifier
from shared.errors import TrainingError
from shared.training_settings import FrozenSettings, FullAdapterSettings, LoraAdapterSettings

LORA = LoraAdapterSettings(r=4, alpha=8, dropout=0.0)
IDS = torch.tensor([[2, 100, 101, 3]])


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return new_classifier(open_base("tiny", tmp_path_factory.getbasetemp() / "cache"), ["bad", "good"], seed=1).model


def learning(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def disturb(model: torch.nn.Module) -> None:
    """Stands for training."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)


def test_a_full_training_changes_the_model_itself(model: PreTrainedModel) -> None:
    assert adapted(model, FullAdapterSettings(), seed=1) is model
    assert merged(model) is model


def test_lora_trains_its_matrices_and_the_head_alone(model: PreTrainedModel) -> None:
    weights = {name: weight.clone() for name, weight in model.base_model.state_dict().items()}
    wrapped = adapted(model, LORA, seed=1)
    names = learning(wrapped)
    assert all("lora_" in name or "classifier" in name for name in names)
    assert sum("lora_A" in name for name in names) == 2 * 6
    disturb(wrapped)
    plain = wrapped.get_base_model().base_model.state_dict()
    for name, weight in weights.items():
        kept = next(found for key, found in plain.items() if key.replace(".base_layer", "") == name)
        assert kept.equal(weight)


def test_merged_it_is_a_plain_model_that_answers_the_same(model: PreTrainedModel) -> None:
    names = set(model.state_dict())
    wrapped = adapted(model, LORA, seed=1).eval()
    disturb(wrapped)
    answer = wrapped(input_ids=IDS).logits.detach()
    plain = merged(wrapped)
    assert type(plain) is type(model)
    assert set(plain.state_dict()) == names
    torch.testing.assert_close(plain(input_ids=IDS).logits.detach(), answer, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_matrices(tmp_path: Path) -> None:
    def matrices(seed: int) -> list[torch.Tensor]:
        fresh = new_classifier(open_base("tiny", tmp_path / "cache"), ["bad", "good"], seed=1).model
        return [weight for name, weight in adapted(fresh, LORA, seed).named_parameters() if "lora_A" in name]

    one, same, other = matrices(1), matrices(1), matrices(2)
    assert all(a.equal(b) for a, b in zip(one, same, strict=True))
    assert not any(a.equal(b) for a, b in zip(one, other, strict=True))


def test_targets_that_the_model_does_not_have_are_refused_with_those_it_has(model: PreTrainedModel) -> None:
    with pytest.raises(TrainingError, match="'q_lin'"):
        adapted(model, LORA.model_copy(update={"targets": ("query",)}), seed=1)


def test_frozen_embeddings_and_layers_do_not_learn(model: PreTrainedModel) -> None:
    freeze(model, FrozenSettings(embeddings=True, layers=1))
    names = learning(model)
    assert not any("embeddings" in name or "layer.0." in name for name in names)
    assert any("layer.1." in name for name in names)
    assert {"classifier.weight", "pre_classifier.weight"} <= names


def test_nothing_is_frozen_by_default(model: PreTrainedModel) -> None:
    freeze(model, FrozenSettings())
    assert learning(model) == {name for name, _ in model.named_parameters()}


def test_more_frozen_layers_than_there_are_is_an_error(model: PreTrainedModel) -> None:
    with pytest.raises(TrainingError, match="2 layers; training.frozen.layers is 3"):
        freeze(model, FrozenSettings(layers=3))


def test_adapters_in_frozen_layers_are_frozen_too(model: PreTrainedModel) -> None:
    wrapped = adapted(model, LORA, seed=1)
    freeze(model, FrozenSettings(layers=1))
    assert not any("layer.0." in name for name in learning(wrapped))
    assert any("layer.1." in name for name in learning(wrapped))
