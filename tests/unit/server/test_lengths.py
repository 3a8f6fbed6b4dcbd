"""Lengths of texts are remembered, the latest of them, and nothing else."""

from services.server.engine import Answer, Prediction
from services.server.lengths import KEPT, Lengths


def predictions(*lengths: int) -> list[Prediction]:
    return [Prediction("id", "1", Answer("x" * length, "p", {"p": 1.0}, False)) for length in lengths]


def test_the_latest_lengths_are_known_in_any_order() -> None:
    lengths = Lengths()
    assert lengths.mixed() == []
    lengths.keep(predictions(*range(KEPT + 10)))
    assert sorted(lengths.mixed()) == list(range(10, KEPT + 10))
