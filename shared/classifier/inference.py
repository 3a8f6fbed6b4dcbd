"""Batching without waste: rows of like length together, within a budget of padded tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Padded tokens in one forward pass. On a CPU 512 to 1024 are fastest, and 4096 a fifth slower, since the activations
# leave the cache; a GPU wants more.
TOKEN_BUDGET = 1024


@dataclass(frozen=True)
class Encoded:
    """Token ids of n texts, each cut to the window; `truncated[i]` is true where text i was longer."""

    ids: list[list[int]]
    truncated: NDArray[np.bool_]

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """(n,) tokens that the model reads, special ones included."""
        return np.fromiter((len(row) for row in self.ids), np.int32, len(self.ids))


class Encoder:
    """Turns texts into token ids exactly as the tokenizer does, cut to the model's window, in bulk."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", window: int) -> None:
        # A copy: padding and truncation are state of the backend, and the tokenizer is also saved and trained with.
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_padding()
        self._backend.enable_truncation(max_length=window)

    def encode(self, texts: Sequence[str]) -> Encoded:
        encodings = self._backend.encode_batch_fast(list(texts))
        truncated = np.fromiter((bool(encoding.overflowing) for encoding in encodings), np.bool_, len(encodings))
        return Encoded([encoding.ids for encoding in encodings], truncated)


def plan_batches(lengths: Sequence[int] | NDArray[np.int32], token_budget: int) -> list[list[int]]:
    """Groups row indices, longest first, so that rows x longest stays within the budget in every batch.

    Every index appears exactly once; a row longer than the budget is a batch of its own.

    >>> plan_batches([3, 9, 4, 4], token_budget=10)
    [[1], [2, 3], [0]]
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and width * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
            width = int(lengths[index])
    return batches


def infer(model: "PreTrainedModel", encoded: Encoded, pad_id: int, token_budget: int) -> NDArray[np.float32]:
    """Logits (n, k) in the order of the rows, whatever batches they went through."""
    logits = np.empty((len(encoded.ids), len(model.config.id2label or ())), np.float32)
    with torch.inference_mode():
        for rows in plan_batches(encoded.lengths, token_budget):
            ids, mask = padded([encoded.ids[row] for row in rows], pad_id)
            logits[rows] = (
                model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits.float().cpu().numpy()
            )
    return logits


def embed(model: "PreTrainedModel", encoded: Encoded, pad_id: int, token_budget: int) -> NDArray[np.float32]:
    """What the base model makes of each text: the mean of its last layer over the text's tokens, (n, width)."""
    found = np.empty((len(encoded.ids), int(model.config.hidden_size)), np.float32)
    with torch.inference_mode():
        for rows in plan_batches(encoded.lengths, token_budget):
            ids, mask = (part.to(model.device) for part in padded([encoded.ids[row] for row in rows], pad_id))
            hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            kept = mask.unsqueeze(-1)
            found[rows] = ((hidden * kept).sum(1) / kept.sum(1)).cpu().numpy()
    return found


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (n, longest) and their mask, 1 where a token stands and 0 where padding does."""
    ids = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for padded, kept, row in zip(ids, mask, rows, strict=True):
        padded[: len(row)] = row
        kept[: len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
