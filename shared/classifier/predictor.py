"""What every predictor answers, whether a transformer, a lexicon or a constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Answers for n texts over k labels; row i belongs to text i, column j to `labels[j]`.

    probabilities: (n, k) float32, each row sums to 1. logits: (n, k) float32, whose softmax they are.
    tokens: (n,) int32, how many tokens were read (0 where the predictor has none).
    truncated: (n,) bool, true where the text went on beyond the model's window.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    tokens: NDArray[np.int32]
    truncated: NDArray[np.bool_]

    @classmethod
    def from_logits(
        cls,
        labels: Sequence[str],
        logits: NDArray[np.float32],
        tokens: NDArray[np.int32],
        truncated: NDArray[np.bool_],
    ) -> "Scores":
        """Probabilities are computed in float64, so that a row of large logits still sums to 1."""
        probabilities = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
        return cls(tuple(labels), probabilities, logits, tokens, truncated)

    @classmethod
    def from_probabilities(cls, labels: Sequence[str], probabilities: NDArray[np.float64]) -> "Scores":
        """For predictors without logits or tokens; the logits are the logarithms, finite also where one is 0."""
        logits = np.log(np.clip(probabilities, np.finfo(np.float32).tiny, 1.0)).astype(np.float32)
        rows = len(probabilities)
        return cls(
            tuple(labels), probabilities.astype(np.float32), logits, np.zeros(rows, np.int32), np.zeros(rows, np.bool_)
        )

    @classmethod
    def concatenated(cls, parts: Sequence["Scores"]) -> "Scores":
        """The rows of all parts, at least one, in order; all of the same labels."""
        columns = ("probabilities", "logits", "tokens", "truncated")
        return cls(parts[0].labels, *(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(n,) column of each row's most probable label; the first one on a tie."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def predicted_labels(self) -> list[str]:
        """Name of each row's most probable label."""
        return [self.labels[column] for column in self.predicted]


class Predictor(Protocol):
    """Anything that can be scored on the same rows as a champion."""

    @property
    def name(self) -> str:
        """How reports call it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of its scores, in order."""

    @property
    def has_scores(self) -> bool:
        """Whether its probabilities mean anything; if not, only `predicted` may be judged."""

    def predict(self, texts: Sequence[str]) -> Scores:
        """Answers in the order of the texts."""
