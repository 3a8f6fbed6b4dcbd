"""What stands above a transformer's body."""

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def head_modules(model: "PreTrainedModel") -> dict[str, nn.Module]:
    """The modules with weights above the body by name, in the order in which a text passes through them."""
    above = ((name, module) for name, module in model.named_children() if name != model.base_model_prefix)
    return {name: module for name, module in above if any(True for _ in module.parameters())}
