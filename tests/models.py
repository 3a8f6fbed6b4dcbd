"""Tiny models for tests: random, cheap, the same every time, and tellable apart by what they answer."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertPreTrainedModel

from shared.classifier.base import open_base
from shared.classifier.calibration import head_of
from shared.classifier.masked import MaskedModel, with_word_head, word_head
from shared.classifier.model import Classifier, new_classifier

SENTIMENTS = ("negative", "positive")


def tiny_classifier(folder: Path, labels: Sequence[str] = SENTIMENTS, seed: int = 0) -> Path:
    """Writes an untrained tiny classifier; different seeds answer differently."""
    return _saved(_new(folder, labels, seed), folder)


def biased_tiny(folder: Path, bias: Sequence[float], labels: Sequence[str] = SENTIMENTS, seed: int = 0) -> Path:
    """Writes a tiny classifier whose logits are shifted by `bias`, one number for each label."""
    classifier = _new(folder, labels, seed)
    with torch.no_grad():
        head_of(classifier.model).bias.add_(torch.tensor(bias))
    return _saved(classifier, folder)


def answering(folder: Path, label: str, labels: Sequence[str] = SENTIMENTS, certainty: float = 6.0) -> Path:
    """Writes a tiny classifier that answers every text with this label, `certainty` logits above the others."""
    classifier = _new(folder, labels, seed=0)
    head = head_of(classifier.model)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([certainty if name == label else 0.0 for name in labels]))
    return _saved(classifier, folder)


def tiny_masked(folder: Path, seed: int = 0) -> Path:
    """Writes a tiny base that guesses words, badly; different seeds guess differently."""
    masked, _ = with_word_head(open_base("tiny", folder.parent / ".base"), seed)
    head = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in word_head(masked.model).parameters():
            weight.add_(torch.randn(weight.shape, generator=head) * 0.1)
    masked.save(folder)
    return folder


def knowing(folder: Path, texts: Sequence[str], strength: float = 1.0) -> Path:
    """Writes a tiny base that expects each word as often as it stands in the texts; below 0, the more rarely."""
    masked = MaskedModel.load(tiny_masked(folder))
    ids = [token for text in texts for token in masked.tokenizer(text)["input_ids"]]
    counts = torch.bincount(torch.tensor(ids), minlength=len(masked.tokenizer)) + 1.0
    with torch.no_grad():
        masked.model.get_output_embeddings().bias.add_(strength * torch.log(counts))
    masked.save(folder)
    return folder


def bert_base(folder: Path, kind: type[BertPreTrainedModel]) -> Path:
    """Writes a random BERT of two small layers as this kind of model, with the tiny base's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(open_base("tiny", folder.parent / ".base"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _new(folder: Path, labels: Sequence[str], seed: int) -> Classifier:
    return new_classifier(open_base("tiny", folder.parent / ".base"), labels, seed)


def _saved(classifier: Classifier, folder: Path) -> Path:
    classifier.save(folder)
    return folder
