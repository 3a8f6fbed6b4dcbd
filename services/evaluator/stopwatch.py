"""Times two models on the same texts, so that what else the machine does falls on both."""

import time
from collections.abc import Sequence

from shared.classifier.predictor import Predictor

ROUNDS = 3


def time_by_turns(
    mine: Predictor, theirs: Predictor, texts: Sequence[str], rounds: int = ROUNDS
) -> tuple[float, float]:
    """Seconds of each, the best of some rounds; after a first answer that only warms up."""
    for model in (mine, theirs):
        model.predict(texts[:1])
    taken = [(_seconds(mine, texts), _seconds(theirs, texts)) for _ in range(rounds)]
    return min(first for first, _ in taken), min(second for _, second in taken)


def _seconds(model: Predictor, texts: Sequence[str]) -> float:
    began = time.perf_counter()
    model.predict(texts)
    return time.perf_counter() - began
