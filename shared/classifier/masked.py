"""A base with the head that guesses words, and what it loses where it guesses wrongly.

A masked-language model guesses tokens that were taken out of a text. What it loses, in nats a guess, says how well it
knows the language of these texts; e to that power is the perplexity.
Source: Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from shared.classifier.damage import load_errors, refuse_missing
from shared.classifier.heads import head_modules
from shared.classifier.inference import TOKEN_BUDGET, Encoder, padded, plan_batches
from shared.classifier.loading import (
    WEIGHTS,
    load_tokenizer,
    pad_id_of,
    save_flat,
    window_of,
)
from shared.classifier.precision import PrecisionSetting, choose_precision, torch_dtype
from shared.classifier.quiet import quietly
from shared.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Weights of a fresh head's norms. At 1 its first guesses are loud and wrong, and worse, even after training, than
# those of a head that begins with hardly more than how often each token comes.
FRESH_NORM = 0.3


class MaskedModel:
    """A transformer that guesses masked tokens, and its tokenizer."""

    def __init__(self, model: "PreTrainedModel", tokenizer: PreTrainedTokenizerFast, *, name: str = "base") -> None:
        """
        Raises: ModelError if the tokenizer knows no token that masks.
        """
        if tokenizer.mask_token_id is None:
            raise ModelError(f"{name}: its tokenizer has no token that masks; choose a base that guesses words")
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.mask_id = int(tokenizer.mask_token_id)
        self.pad_id = pad_id_of(tokenizer)
        self.special_ids = frozenset(tokenizer.all_special_ids)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", precision: PrecisionSetting = "fp32") -> "MaskedModel":
        """Reads a flat folder, ready to guess.

        Raises: ModelError if anything is missing, the head that guesses included, damaged, or of another format.
        """
        dtype = torch_dtype(choose_precision(precision, device))
        with load_errors(folder), quietly():
            model, found = AutoModelForMaskedLM.from_pretrained(folder, dtype=dtype, **WEIGHTS)
            tokenizer = load_tokenizer(folder)
        refuse_missing(found["missing_keys"], folder)
        return cls(model.to(device).eval(), tokenizer, name=folder.name)

    def save(self, folder: Path) -> None:
        """Writes weights (safetensors), config and tokenizer (JSON) flat into the folder, made if need be."""
        save_flat(self.model, self.tokenizer, folder)

    @property
    def window(self) -> int:
        """The most tokens that the model reads of a text, special ones included."""
        return window_of(self.model, self.tokenizer)


def with_word_head(base_folder: Path, seed: int) -> tuple[MaskedModel, bool]:
    """The base with its head that guesses words, and whether that is a fresh one, because the base came without.

    A fresh head hands on what the body says, softly: its square layers begin as the identity, its norms small, its
    output is tied to the embeddings. The same seed gives the same head.
    Raises: ModelError if the base is damaged, or its tokenizer knows no mask.
    """
    with load_errors(base_folder), quietly(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, found = AutoModelForMaskedLM.from_pretrained(base_folder, dtype=torch.float32, **WEIGHTS)
        tokenizer = load_tokenizer(base_folder)
    missing, body = set(found["missing_keys"]), f"{model.base_model_prefix}."
    refuse_missing({name for name in missing if name.startswith(body)}, base_folder)
    if missing:
        _hand_on(model)
    return MaskedModel(model.eval(), tokenizer, name=base_folder.name), bool(missing)


@dataclass(frozen=True, slots=True, eq=False)
class MaskedLosses:
    """What n texts cost; row i belongs to text i.

    nats: (n,) float64, sum over the text's guesses of -log(probability of the true token).
    guesses: (n,) int64, tokens guessed; 0 where the text has no word.
    """

    nats: NDArray[np.float64]
    guesses: NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Nats a guess, every guess weighing the same; NaN if nothing was guessed."""
        total = int(self.guesses.sum())
        return float(self.nats.sum()) / total if total else float("nan")

    @property
    def perplexity(self) -> float:
        """e to the mean: among how many words, all as likely, the model would lose as much."""
        return float(np.exp(self.mean))


def masked_losses(
    model: MaskedModel,
    texts: Sequence[str],
    *,
    mask_share: float,
    max_tokens: int,
    token_budget: int = TOKEN_BUDGET,
) -> MaskedLosses:
    """Asks the model for a share of each text's tokens, all of them masked at once.

    Which tokens depends on the text's token ids alone: two models with one tokenizer guess the same ones, so that their
    losses can be compared row by row.
    Args: mask_share: of the tokens that are no special ones; at least one, if there is any. max_tokens: longer texts
        are cut. token_budget: padded tokens per forward pass.
    """
    ids = Encoder(model.tokenizer.backend_tokenizer, min(max_tokens, model.window)).encode(texts).ids
    places = [_measured_places(row, model.special_ids, mask_share) for row in ids]
    nats = np.zeros(len(ids), np.float64)
    asked = [row for row, found in enumerate(places) if found]
    with torch.inference_mode():
        for batch in plan_batches([len(ids[row]) for row in asked], token_budget):
            rows = [asked[place] for place in batch]
            nats[rows] = _nats(model, [ids[row] for row in rows], [places[row] for row in rows])
    return MaskedLosses(nats, np.fromiter(map(len, places), np.int64, len(places)))


def guessed_places(
    ids: Sequence[int], special_ids: frozenset[int], share: float, chance: np.random.Generator
) -> list[int]:
    """Places of the tokens to guess, rising: a share of those that are no special ones, at least one if there is any.

    >>> guessed_places([2, 7, 8, 9, 3], frozenset({2, 3}), share=1.0, chance=np.random.default_rng(0))
    [1, 2, 3]
    """
    words = [place for place, token in enumerate(ids) if token not in special_ids]
    if not words:
        return []
    count = min(len(words), max(1, round(share * len(words))))
    return sorted(chance.choice(words, count, replace=False).tolist())


@contextmanager
def guessing_only_at(model: "PreTrainedModel", places: torch.Tensor) -> Iterator[None]:
    """Within it the model's logits are (guesses, words) at these places only, in reading order.

    The head is as dear as all layers of a small model together, and most of what it says is not asked.
    Args: places: (n, longest) bool.
    """
    hook = word_head(model).register_forward_pre_hook(lambda _, inputs: (inputs[0][places], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def word_head(model: "PreTrainedModel") -> nn.Module:
    """The first module with weights above the body; what comes out of the body goes into it."""
    return next(iter(head_modules(model).values()))


def _hand_on(model: "PreTrainedModel") -> None:
    parts = [part for module in head_modules(model).values() for part in module.modules()]
    with torch.no_grad():
        for layer in parts:
            if isinstance(layer, nn.Linear) and layer.in_features == layer.out_features:
                nn.init.eye_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.LayerNorm):
                layer.weight.fill_(FRESH_NORM)


def _measured_places(ids: Sequence[int], special_ids: frozenset[int], share: float) -> list[int]:
    content = np.asarray(ids, np.int64).tobytes()
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    return guessed_places(ids, special_ids, share, np.random.default_rng(seed))


def _nats(model: MaskedModel, rows: Sequence[Sequence[int]], places: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """(rows,) what each row's guesses cost together."""
    ids, mask = padded(rows, model.pad_id)
    at = torch.zeros_like(ids, dtype=torch.bool)
    for row, found in enumerate(places):
        at[row, found] = True
    truth, owner = ids[at], at.nonzero()[:, 0].numpy()
    device: Any = model.model.device
    with guessing_only_at(model.model, at.to(device)):
        logits = model.model(
            input_ids=ids.masked_fill(at, model.mask_id).to(device), attention_mask=mask.to(device)
        ).logits
    losses = functional.cross_entropy(logits.float(), truth.to(device), reduction="none").double().cpu().numpy()
    nats = np.zeros(len(rows), np.float64)
    np.add.at(nats, owner, losses)
    return nats
