"""Which tokens of a text are to be guessed in training, and what the model sees in their place."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from services.retrainer.adaptation.folder import TextRow
from services.retrainer.encoding import token_ids
from shared.classifier.inference import padded
from shared.classifier.masked import MaskedModel, guessed_places

# Of the tokens to be guessed: so many are masked, and so many others replaced by a random one; the rest stand as they
# are. A model that only ever guessed at masks would learn nothing about the texts that it is used on, which have none.
MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1
# Label of a token that is not to be guessed.
NOT_GUESSED = -100


class MaskedRows(Dataset[dict[str, Any]]):
    """Texts as token ids, each with other tokens masked in every epoch.

    What is masked depends on seed, epoch and place of the row alone: a job that resumes in the middle of an epoch masks
    as an unbroken one does.
    """

    def __init__(
        self, rows: Sequence[TextRow], model: MaskedModel, *, max_tokens: int, mask_share: float, seed: int
    ) -> None:
        self.ids = token_ids([row.text for row in rows], model, max_tokens)
        self.epoch = 0
        self._mask_id, self._special_ids = model.mask_id, model.special_ids
        self._ordinary = np.array([token for token in range(len(model.tokenizer)) if token not in model.special_ids])
        self._share, self._seed = mask_share, seed

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """`input_ids` as the model sees them; `labels` are the true tokens where it must guess."""
        chance = np.random.default_rng([self._seed, self.epoch, row])
        ids = np.array(self.ids[row])
        places = guessed_places(self.ids[row], self._special_ids, self._share, chance)
        labels = np.full_like(ids, NOT_GUESSED)
        labels[places] = ids[places]
        fate, random = chance.random(len(places)), chance.choice(self._ordinary, len(places))
        kept = np.where(fate < MASKED_SHARE + RANDOM_SHARE, random, ids[places])
        ids[places] = np.where(fate < MASKED_SHARE, self._mask_id, kept)
        return {"input_ids": ids.tolist(), "labels": labels.tolist()}


class MaskedCollator:
    """Rows of one batch as tensors, padded to the longest of them."""

    def __init__(self, model: MaskedModel) -> None:
        self._pad_id = model.pad_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids, mask = padded([row["input_ids"] for row in rows], self._pad_id)
        labels, _ = padded([row["labels"] for row in rows], NOT_GUESSED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
