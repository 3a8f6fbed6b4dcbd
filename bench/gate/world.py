"""A simulated stream: candidates better and worse than their parents, drift, and every model's answer to every row.

A model is its parent with some answers changed, so that two models differ on rows as real ones do, and a row that is
looked at again gives the answer that it gave before. Nothing is drawn from a normal approximation.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.evaluator.comparison import BoolArray, Flips, count_flips
from shared.settings import GateSettings

FloatArray = NDArray[np.float64]
# Old rows were easier before a drift; a model must still be able to be wrong there.
_EASIEST = 0.97


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """What the stream is like; accuracies, edges and drifts as shares of rows (.01 = 1 point)."""

    fresh_rows: int = 200
    windows: int = 200
    pool_rows: int = GateSettings().pool_rows
    discordance: float = 0.10
    """Share of rows on which exactly one of parent and child is right."""
    edge_mean: float = 0.002
    edge_sd: float = 0.010
    disaster_share: float = 0.0255
    disaster_edge: float = -0.05
    disaster_sd: float = 0.005
    start: float = 0.84
    ceiling: float = 0.92
    """Gains shrink in proportion to what is left to it: whole at `start`, nothing at `ceiling`."""
    slow_drift: float = 0.0001
    """Lost by every model with each window."""
    sudden_drift: float = 0.05
    sudden_at: int = 100

    def __post_init__(self) -> None:
        if self.pool_rows % self.fresh_rows:
            raise ValueError(f"{self.fresh_rows} fresh rows: must divide the pool of {self.pool_rows}")

    def drift(self, window: int) -> float:
        """Lost by every model since window 0."""
        return self.slow_drift * window + (self.sudden_drift if window >= self.sudden_at else 0.0)


def draw_edges(settings: WorldSettings, rng: np.random.Generator) -> FloatArray:
    """Each window's candidate: its edge over its parent if that one were as good as the first model."""
    usual = rng.normal(settings.edge_mean, settings.edge_sd, settings.windows)
    disasters = rng.normal(settings.disaster_edge, settings.disaster_sd, settings.windows)
    return np.where(rng.random(settings.windows) < settings.disaster_share, disasters, usual)


def inherit(
    parent_right: BoolArray,
    parent_accuracy: float | FloatArray,
    edge: float,
    discordance: float,
    rng: np.random.Generator,
) -> BoolArray:
    """A child's answers: its parent's, of which as many turn right and wrong as edge and discordance ask for.

    Args: the parent's answers and how accurate it is on rows of that kind, shape (n,) or one number.
    """
    changed = max(discordance, abs(edge))
    turned_wrong = (changed - edge) / 2 / parent_accuracy
    turned_right = (changed + edge) / 2 / (1 - parent_accuracy)
    draws = rng.random(parent_right.size, dtype=np.float32)
    return np.where(parent_right, draws >= turned_wrong, draws < turned_right)


class SimulatedWorld:
    """The stream of one run. Two worlds of one seed offer the same candidates to whatever policy is tried in them."""

    def __init__(self, settings: WorldSettings, seed: int) -> None:
        luck, self._rng = (np.random.default_rng((seed, part)) for part in range(2))
        self._settings, self._edges = settings, draw_edges(settings, luck)
        self._window, self._filled = -1, 0
        self._fresh = slice(0, 0)
        self._drifts = np.zeros(settings.pool_rows)
        self._levels = {0: settings.start}  # accuracy without drift
        self._parents: dict[int, int] = {}
        self._right = {0: np.zeros(settings.pool_rows, dtype=np.bool_)}

    def advance(self) -> None:
        """Replaces the pool's oldest rows by fresh ones and asks every model that is kept."""
        rows, self._window = self._settings.fresh_rows, self._window + 1
        begin = self._window * rows % self._settings.pool_rows
        self._fresh = slice(begin, begin + rows)
        self._filled = min(self._filled + rows, self._settings.pool_rows)
        self._drifts[self._fresh] = self._settings.drift(self._window)
        for model in sorted(self._right):
            self._right[model][self._fresh] = self._answers(model, self._fresh)

    def train(self, start: int) -> int:
        """A child of `start` that has answered the whole pool."""
        model = max(self._levels) + 1
        self._levels[model], self._parents[model] = self._levels[start] + self._edge(start), start
        self._right[model] = self._answers(model, slice(None))
        return model

    def flips(self, champion: int, challenger: int, *, pooled: bool) -> Flips:
        """Two kept models on the pool, or on the fresh rows alone."""
        rows = slice(0, self._filled) if pooled else self._fresh
        return count_flips(self._right[champion][rows], self._right[challenger][rows])

    def keep(self, models: Collection[int]) -> None:
        """Forgets the others, but for ancestors through which those that are kept are related."""
        lines = [self._line(model) for model in models]
        root = max(set.intersection(*lines))
        kept = {model for model in set.union(*lines) if model >= root}
        self._right = {model: right for model, right in self._right.items() if model in kept}
        self._levels = {model: level for model, level in self._levels.items() if model in kept}
        self._parents = {model: parent for model, parent in self._parents.items() if model in kept - {root}}

    def accuracy(self, model: int) -> float:
        """The chance that it is right on a row of the newest window."""
        return self._levels[model] - self._settings.drift(max(self._window, 0))

    def _edge(self, parent: int) -> float:
        edge, settings = float(self._edges[self._window]), self._settings
        headroom = (settings.ceiling - self.accuracy(parent)) / (settings.ceiling - settings.start)
        return edge * max(headroom, 0.0) if edge > 0 else edge

    def _answers(self, model: int, rows: slice) -> BoolArray:
        """Answers to rows that the model has not seen; its parent has answered them."""
        parent, drifts = self._parents.get(model), self._drifts[rows]
        if parent is None:
            return self._rng.random(drifts.size, dtype=np.float32) < self._levels[model] - drifts
        accuracy = np.minimum(self._levels[parent] - drifts, _EASIEST)
        edge = self._levels[model] - self._levels[parent]
        return inherit(self._right[parent][rows], accuracy, edge, self._settings.discordance, self._rng)

    def _line(self, model: int) -> set[int]:
        line = {model}
        while (parent := self._parents.get(model)) is not None:
            line.add(model := parent)
        return line
