"""Which weights a training may change: all, all but frozen ones, or small matrices beside them (LoRA)."""

from typing import TYPE_CHECKING, Any, assert_never

import torch
from torch import nn

from shared.classifier.heads import head_modules
from shared.errors import TrainingError
from shared.training_settings import AdapterSettings, FrozenSettings, FullAdapterSettings, LoraAdapterSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def adapted(model: "PreTrainedModel", settings: AdapterSettings, seed: int) -> nn.Module:
    """The model as it is to be trained: itself, or inside a wrapper that adds trainable matrices to it.

    The head is always trained whole. The same seed gives the same matrices.
    Raises: TrainingError if the settings name no layer of this model.
    Source: Hu et al., "LoRA", arXiv:2106.09685.
    """
    match settings:
        case FullAdapterSettings():
            return model
        case LoraAdapterSettings():
            return _with_lora(model, settings, seed)
        case _:
            assert_never(settings)


def merged(model: nn.Module) -> Any:
    """The plain model again, with what was learned beside its weights added to them."""
    from peft import PeftModel

    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def freeze(model: "PreTrainedModel", settings: FrozenSettings) -> None:
    """Keeps embeddings and the lowest layers, adapters in them too, from learning.

    Raises: TrainingError if the model has fewer layers.
    """
    if settings.embeddings:
        model.base_model.get_submodule("embeddings").requires_grad_(False)
    if settings.layers:
        layers = layers_of(model)
        if settings.layers > len(layers):
            raise TrainingError(f"the model has {len(layers)} layers; training.frozen.layers is {settings.layers}")
        for layer in list(layers)[: settings.layers]:
            layer.requires_grad_(False)


def layers_of(model: "PreTrainedModel") -> nn.ModuleList:
    """The transformer's layers, lowest first.

    Raises: TrainingError if the model has none in a list.
    """
    lists = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise TrainingError(f"{type(model).__name__} has no list of layers; set training.frozen.layers to 0")
    return max(lists, key=len)


def _with_lora(model: "PreTrainedModel", settings: LoraAdapterSettings, seed: int) -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        modules_to_save=list(head_modules(model)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            linear = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
            raise TrainingError(
                f"training.adapter.targets {list(settings.targets)}: {error}; linear layers here: {sorted(linear)}"
            ) from error
