"""From token ids to numbers: batching without waste, within a budget of tokens, whatever network computes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared.classifier.predictor import Scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Padded tokens in one forward pass. On a CPU 512 to 1024 are fastest, and 4096 a fifth slower, since the activations
# leave the cache; a GPU wants more.
TOKEN_BUDGET = 1024


Rows = Sequence[Sequence[int]]
"""Token ids of texts."""


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

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        # A copy: padding and truncation are its state, and it is also saved and trained with.
        self._backend = Tokenizer.from_str(tokenizer.to_str())
        self._backend.no_padding()
        self._backend.enable_truncation(max_length=window)

    def encode(self, texts: Sequence[str]) -> Encoded:
        encodings = self._backend.encode_batch_fast(list(texts))
        truncated = np.fromiter((bool(encoding.overflowing) for encoding in encodings), np.bool_, len(encodings))
        return Encoded([encoding.ids for encoding in encodings], truncated)


def plan_batches(
    lengths: Sequence[int] | NDArray[np.int32], token_budget: int, *, padded: bool = True
) -> list[list[int]]:
    """Groups row indices, longest first, so that the tokens of every batch stay within the budget.

    Every index appears exactly once; a row longer than the budget is a batch of its own.
    Args: padded: each row counts as long as the longest of its batch.

    >>> plan_batches([3, 9, 4, 4], token_budget=10)
    [[1], [2, 3], [0]]
    >>> plan_batches([3, 9, 4, 4], token_budget=11, padded=False)
    [[1], [2, 3, 0]]
    """
    batches: list[list[int]] = []
    width = tokens = 0
    for index in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        length = int(lengths[index])
        tokens += width if padded else length
        if batches and tokens <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
            width = tokens = length
    return batches


class Body(Protocol):
    """A classifier's network, as whoever answers texts uses it."""

    @property
    def width(self) -> int:
        """Of an embedding."""

    def batches(self, lengths: NDArray[np.int32], token_budget: int) -> list[list[int]]:
        """Which rows go through it together; each in one batch."""

    def logits(self, rows: Rows) -> torch.Tensor:
        """(texts, labels) float32 of token ids, in their order."""

    def means(self, rows: Rows) -> torch.Tensor:
        """(texts, width) float32: the mean of the last layer over each text's tokens."""


class PaddedModel:
    """A transformer of any kind, as its library runs it: the texts of a batch filled up to the longest; a `Body`."""

    def __init__(self, model: "PreTrainedModel", pad_id: int) -> None:
        self._model, self._pad_id = model, pad_id

    @property
    def width(self) -> int:
        """Of an embedding."""
        return int(self._model.config.hidden_size)

    def batches(self, lengths: NDArray[np.int32], token_budget: int) -> list[list[int]]:
        """As `plan_batches`."""
        return plan_batches(lengths, token_budget)

    def logits(self, rows: Rows) -> torch.Tensor:
        """(texts, labels) float32."""
        ids, mask = self._padded(rows)
        logits: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).logits
        return logits.float()

    def means(self, rows: Rows) -> torch.Tensor:
        """(texts, width) float32."""
        ids, mask = self._padded(rows)
        hidden = self._model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        kept = mask.unsqueeze(-1)
        means: torch.Tensor = (hidden * kept).sum(1) / kept.sum(1)
        return means

    def _padded(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        ids, mask = padded(rows, self._pad_id)
        return ids.to(self._model.device), mask.to(self._model.device)


def predict(body: Body, encoded: Encoded, labels: Sequence[str], token_budget: int) -> Scores:
    """Scores in the order of the rows."""
    logits = by_batch(body, body.logits, encoded.ids, len(labels), token_budget)
    return Scores.from_logits(labels, logits, encoded.lengths, encoded.truncated)


def by_batch(
    body: Body, ask: Callable[[Rows], torch.Tensor], rows: Rows, width: int, token_budget: int
) -> NDArray[np.float32]:
    """(n, width), what `ask`, one of the body's, says of each row, whatever batches they went through."""
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    found = np.empty((len(rows), width), np.float32)
    with torch.inference_mode():
        for batch in body.batches(lengths, token_budget):
            found[batch] = ask([rows[row] for row in batch]).cpu().numpy()
    return found


def padded(rows: Rows, pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (n, longest) and their mask, 1 where a token stands and 0 where padding does."""
    ids = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for padded, kept, row in zip(ids, mask, rows, strict=True):
        padded[: len(row)] = row
        kept[: len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
