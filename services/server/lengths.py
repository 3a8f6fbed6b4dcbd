"""How long the texts are that people ask about; of the texts themselves nothing is kept."""

import random
from collections import deque
from collections.abc import Sequence

from services.server.engine import Prediction

KEPT = 512


class Lengths:
    """Characters of the latest texts. One thread adds, any may read."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=KEPT)

    def keep(self, predictions: Sequence[Prediction]) -> None:
        """Takes note of answered texts."""
        self._latest.extend(len(each.answer.text) for each in predictions)

    def mixed(self) -> list[int]:
        """In random order; empty before the first request."""
        latest = list(self._latest)
        return random.sample(latest, len(latest))
