"""Rows as the Trainer takes them: tokenised once, padded to the batch, with the start model's answers beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from services.retrainer.runs import TrainingRow
from shared.classifier.inference import Encoder, padded
from shared.classifier.masked import MaskedModel
from shared.classifier.model import Classifier


@dataclass(frozen=True)
class Teaching:
    """The start model's answers: logits (n, k), of which only rows with `taught` (n,) count."""

    logits: NDArray[np.float32]
    taught: NDArray[np.bool_]


class EncodedRows(Dataset[dict[str, Any]]):
    """Rows as token ids, cut to the training length, each tokenised once."""

    def __init__(
        self,
        rows: Sequence[TrainingRow],
        classifier: Classifier,
        max_tokens: int,
        teaching: Teaching | None = None,
    ) -> None:
        """Args: teaching: the start model's answers on some of the rows; None: it teaches nothing."""
        self._ids = token_ids([row.text for row in rows], classifier, max_tokens)
        self._labels = [row.label for row in rows]
        self._pad_id = classifier.pad_id
        self._teaching = teaching

    @property
    def words(self) -> frozenset[int]:
        """Every token id that a batch of them can hold, padding included."""
        return frozenset(chain([self._pad_id], *self._ids))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self._ids]

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        encoded = {"input_ids": self._ids[row], "labels": self._labels[row]}
        if self._teaching is None:
            return encoded
        return encoded | {"teacher": self._teaching.logits[row], "taught": self._teaching.taught[row]}


class Collator:
    """Rows of one batch as tensors, padded to the longest of them."""

    def __init__(self, classifier: Classifier) -> None:
        self._pad_id = classifier.pad_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids, mask = padded([row["input_ids"] for row in rows], self._pad_id)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows])}
        for name in ("teacher", "taught"):
            if name in rows[0]:
                batch[name] = torch.from_numpy(np.stack([row[name] for row in rows]))
        return batch


def token_ids(texts: Sequence[str], model: Classifier | MaskedModel, max_tokens: int) -> list[list[int]]:
    """Token ids of each text, cut to the training length or the model's own, whichever is less."""
    return Encoder(model.tokenizer.backend_tokenizer, min(max_tokens, model.window)).encode(texts).ids
