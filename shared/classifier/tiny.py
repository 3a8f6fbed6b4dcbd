"""A random DistilBERT of 30,000 weights: no use as a model, but every part of the mill runs on it in milliseconds."""

import string
from pathlib import Path

import torch
from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizer

from shared.classifier.quiet import quietly

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = """
    the a an and or but not no never of to in on for with from by at as is was are were be been it its this that these
    i you he she they we my your his her their our who what which when how all some any more most very too so just than
    film movie story plot scene actor acting director script music product book phone sound price quality service time
    good great excellent wonderful amazing best love loved like liked enjoy enjoyed fun funny beautiful perfect fresh
    bad awful terrible horrible worst hate hated boring dull slow poor waste wasted disappointing stupid mess rotten
    works broke broken never again recommend watch buy bought money worth well better worse only even much little first
"""
_WINDOW = 128


def make_tiny(target: Path) -> None:
    """Writes a model of 2 layers and width 32 with a tokenizer that spells what it does not know; always the same."""
    vocabulary = _vocabulary()
    config = DistilBertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=_WINDOW, n_layers=2, n_heads=2, dim=32, hidden_dim=64
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DistilBertModel(config)
    with quietly():
        model.save_pretrained(target)
        DistilBertTokenizer(vocab=vocabulary, model_max_length=_WINDOW).save_pretrained(target)


def _vocabulary() -> dict[str, int]:
    pieces = string.ascii_lowercase + string.digits + string.punctuation
    tokens = [*_SPECIAL, *pieces, *(f"##{piece}" for piece in pieces), *_WORDS.split()]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}
