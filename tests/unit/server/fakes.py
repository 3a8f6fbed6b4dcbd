"""Models below our own code: they answer with what tells them apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.server.card import Card
from services.server.slots import Slot
from shared.classifier.predictor import Scores

LABELS = ("negative", "positive")


def card(version: str, **fields: object) -> Card:
    return Card.model_validate({"version": version, "digest": (version * 64)[:64].replace(" ", "0")} | fields)


@dataclass
class FakeModel:
    """Answers `certainty` for "positive"; `before` runs at the start of each call, in the worker's thread."""

    certainty: float = 0.75
    before: Callable[[Sequence[str]], None] = lambda texts: None
    window: int = 512
    labels: tuple[str, ...] = LABELS
    name: str = "fake"
    plan: str = "fake-plan"
    has_scores: bool = True
    calls: list[list[str]] = field(default_factory=list)

    def predict(self, texts: Sequence[str], token_budget: int | None = None) -> Scores:
        self.calls.append(list(texts))
        self.before(texts)
        row = [1 - self.certainty, self.certainty]
        probabilities = np.array([row] * len(texts), np.float64).reshape(len(texts), 2)
        return Scores.from_probabilities(self.labels, probabilities)


def slot(version: str = "1", model: FakeModel | None = None) -> Slot:
    return Slot(card(version), model or FakeModel())
