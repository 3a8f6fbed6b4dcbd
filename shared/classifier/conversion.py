"""Brings BERT weights with one token type into DistilBERT's layout, exactly.

BERT adds a token-type embedding to every position; with one text per row it is always type 0, so adding
`token_type_embeddings[0]` to each position embedding gives DistilBERT's sum. The pooler has no place there.
"""

import re

import torch

_WITHIN_LAYER = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_KEPT = ("embeddings.word_embeddings.weight", "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
_POSITIONS, _TOKEN_TYPES = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"


def bert_to_distilbert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A DistilBertModel's state from a BertModel's; hidden states agree to rounding."""
    converted = {name: weights[name] for name in _KEPT}
    converted[_POSITIONS] = weights[_POSITIONS] + weights[_TOKEN_TYPES][0]
    for name, tensor in weights.items():
        if match := _LAYER.fullmatch(name):
            layer, part, kind = match.groups()
            converted[f"transformer.layer.{layer}.{_WITHIN_LAYER[part]}.{kind}"] = tensor
    return converted
