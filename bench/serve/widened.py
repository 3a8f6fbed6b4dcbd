"""The same model twice as wide: DistilBERT-base's dimensions with the answers of a model that has learned.

Every feature stands twice, and whatever reads it shares its weight unequally among the two, so that all sums are as
before. Layer norms see the same mean and variance, and queries are scaled by what longer heads divide more by. Source:
function-preserving widening, Chen, Goodfellow and Shlens, "Net2Net", arXiv:1511.05641.
"""

from pathlib import Path

import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertForSequenceClassification
from transformers.models.distilbert.modeling_distilbert import TransformerBlock

from shared.classifier.model import Classifier

WIDENING = 1  # to be raised when a model comes out otherwise
SEED = 1
LEAST_SHARE = 0.25


def save_widened(files: Path, target: Path) -> None:
    """Writes the DistilBERT of these files at twice its width, with as many layers and heads."""
    narrow = Classifier.load(files)
    if not isinstance(narrow.model, DistilBertForSequenceClassification):
        raise TypeError(f"{files} holds a {type(narrow.model).__name__}, no DistilBERT to widen")
    with torch.no_grad():
        Classifier(_widened(narrow.model).eval(), narrow.tokenizer).save(target)


def _widened(narrow: DistilBertForSequenceClassification) -> DistilBertForSequenceClassification:
    settings = narrow.config.to_dict()
    twice = {name: 2 * settings[name] for name in ("dim", "hidden_dim")}
    wide = DistilBertForSequenceClassification(DistilBertConfig(**{**settings, **twice}))
    shares = torch.Generator().manual_seed(SEED)
    old, new = narrow.distilbert, wide.distilbert
    features, labels = _twice(narrow.config.dim), torch.arange(narrow.config.num_labels)
    for name in ("word_embeddings", "position_embeddings"):
        getattr(new.embeddings, name).weight.copy_(getattr(old.embeddings, name).weight[:, features])
    _widen_norm(old.embeddings.LayerNorm, new.embeddings.LayerNorm)
    for before, after in zip(old.transformer.layer, new.transformer.layer, strict=True):
        _widen_block(before, after, narrow.config.n_heads, shares)
    _widen(narrow.pre_classifier, wide.pre_classifier, features, features, shares)
    _widen(narrow.classifier, wide.classifier, labels, features, shares)
    return wide


def _widen_block(old: TransformerBlock, new: TransformerBlock, heads: int, shares: torch.Generator) -> None:
    width, hidden = old.ffn.lin1.in_features, old.ffn.lin1.out_features
    features, of_heads, within = _twice(width), _twice_by_head(width, heads), _twice(hidden)
    for name in ("q_lin", "k_lin", "v_lin"):
        _widen(getattr(old.attention, name), getattr(new.attention, name), of_heads, features, shares)
    # A head's product counts every feature twice, of which a head twice as long takes off the root of two only.
    new.attention.q_lin.weight.mul_(2**-0.5)
    new.attention.q_lin.bias.mul_(2**-0.5)
    _widen(old.attention.out_lin, new.attention.out_lin, features, of_heads, shares)
    _widen_norm(old.sa_layer_norm, new.sa_layer_norm)
    _widen(old.ffn.lin1, new.ffn.lin1, within, features, shares)
    _widen(old.ffn.lin2, new.ffn.lin2, features, within, shares)
    _widen_norm(old.output_layer_norm, new.output_layer_norm)


def _twice(width: int) -> torch.Tensor:
    """(2 width,) for each wide feature the narrow one that it repeats."""
    return torch.arange(width).repeat(2)


def _twice_by_head(width: int, heads: int) -> torch.Tensor:
    """The same where each head keeps its own features together."""
    return torch.arange(width).view(heads, 1, -1).expand(-1, 2, -1).flatten()


def _widen(
    old: nn.Linear, new: nn.Linear, outputs: torch.Tensor, inputs: torch.Tensor, shares: torch.Generator
) -> None:
    """Args: outputs, inputs: for each wide feature the narrow one that it repeats; inputs all twice."""
    share = torch.rand(len(outputs), old.in_features, generator=shares) * (1 - 2 * LEAST_SHARE) + LEAST_SHARE
    seen = torch.zeros(old.in_features, dtype=torch.bool)
    new.weight.copy_(old.weight[outputs][:, inputs])
    for column, source in enumerate(inputs.tolist()):
        new.weight[:, column] *= 1 - share[:, source] if seen[source] else share[:, source]
        seen[source] = True
    new.bias.copy_(old.bias[outputs])


def _widen_norm(old: nn.LayerNorm, new: nn.LayerNorm) -> None:
    new.weight.copy_(old.weight.repeat(2))
    new.bias.copy_(old.bias.repeat(2))
