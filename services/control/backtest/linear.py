"""The quick learner: a linear model over hashed words, pairs of words and VADER's opinion, by gradient descent.

Like the real model's base it knows something before it has learned anything, and it learns a window in a second, which
is what trying many policies takes. It stands in for the real model where the
question is about windows, replay, starts and gates; how well a model reads it cannot say.
"""

import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import softmax
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from services.control.backtest.lesson import Lesson
from shared.events import Side

HASHES = 1 << 16
COLUMNS = HASHES + 2
BATCH_ROWS = 32
RATE = 0.3  # AdaGrad's; small enough that a warm start on a new domain does not wipe the weights out
DECAY = 1e-5
COMPOUND = 2.0  # weight of VADER's opinion beside words of together unit length
WORD = re.compile(r"\w+|[!?]")
WEIGHTS = "weights.npz"
Floats = NDArray[np.float32]


class LinearLearner:
    """Softmax regression from its parents' average; of the training settings it heeds epochs, replay, start, seed."""

    name = "linear-1"

    def train(self, lesson: Lesson, parents: Sequence[Path], folder: Path) -> None:
        """Writes the weights into the folder."""
        rows = lesson.rows[Side.TRAIN]
        nothing = [np.zeros((COLUMNS, len(lesson.window.label_names)), np.float32)]
        weights = np.mean([_read(parent) for parent in parents] or nothing, axis=0)
        inputs, truth = features([row.text for row in rows]), np.array([row.label for row in rows])
        fitted = fit(weights, inputs, truth, lesson.training.epochs, lesson.seed)
        np.savez_compressed(folder / WEIGHTS, weights=fitted)

    def predict(self, folder: Path, texts: Sequence[str]) -> Floats:
        """Probabilities of shape (n, k)."""
        return np.asarray(softmax(features(texts) @ _read(folder), axis=1), np.float32)


def features(texts: Sequence[str]) -> csr_matrix:
    """One row a text: hashed words of together unit length, VADER's opinion, and a constant for the bias."""
    rows = [_features(text) for text in texts]
    columns = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, np.int32)
    values = np.concatenate([values for _, values in rows]) if rows else np.zeros(0, np.float32)
    ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    return csr_matrix((values, columns, ends), shape=(len(texts), COLUMNS))


@lru_cache(maxsize=200_000)
def _features(text: str) -> tuple[NDArray[np.int32], Floats]:
    words = WORD.findall(text.lower())
    grams = {*words, *(f"{one} {two}" for one, two in pairwise(words))}
    hashed = sorted({crc32(gram.encode()) % HASHES for gram in grams})
    opinion = COMPOUND * _analyzer().polarity_scores(text)["compound"]
    values = [*[1.0 / math.sqrt(len(hashed))] * len(hashed), opinion, 1.0] if hashed else [opinion, 1.0]
    return np.array([*hashed, HASHES, HASHES + 1], np.int32), np.array(values, np.float32)


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def fit(weights: Floats, inputs: csr_matrix, truth: NDArray[np.int64], epochs: float, seed: int) -> Floats:
    """Softmax regression by AdaGrad on the log-loss, from the given weights. Source: Duchi et al., JMLR 12, 2011."""
    fitted, squares, chance = weights.copy(), np.full_like(weights, 1e-2), np.random.default_rng(seed)
    targets = np.eye(weights.shape[1], dtype=np.float32)[truth]
    steps = round(epochs * len(truth))
    order = np.concatenate([chance.permutation(len(truth)) for _ in range(-(-steps // len(truth)))])[:steps]
    for start in range(0, len(order), BATCH_ROWS):
        batch = order[start : start + BATCH_ROWS]
        rows = inputs[batch]
        surplus = softmax(rows @ fitted, axis=1) - targets[batch]
        gradient = rows.T @ surplus / len(batch) + DECAY * fitted
        squares += gradient**2
        fitted -= RATE * gradient / np.sqrt(squares)
    return fitted


def _read(folder: Path) -> Floats:
    with np.load(folder / WEIGHTS, allow_pickle=False) as stored:
        weights: Floats = stored["weights"]
    return weights
