"""Domains whose texts say their domain and their label, and models that know some domains."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bench.gate.reviews import Labelled
from bench.loop.stream import Stream, StreamSettings, make_stream
from services.control.backtest.judging import Floats

SETTINGS = StreamSettings(window_rows=20, segment_windows=3, most_windows=6, truth_share=0.25, flipped_share=0.34)
TRUTH = 20


def reviews(domain: str, count: int) -> list[Labelled]:
    return [(f"{domain} {number} {('bad', 'good')[number % 2]}", number % 2) for number in range(count)]


def two_domains(flipped_share: float = SETTINGS.flipped_share) -> Stream:
    """Three windows of one domain, then three of the other."""
    settings = replace(SETTINGS, flipped_share=flipped_share)
    return make_stream({name: reviews(name, 80) for name in ("films", "news")}, settings, seed=5)


def answers(known: Iterable[str], texts: Sequence[str]) -> Floats:
    """Right on the known domains and wrong on all others."""
    words = [text.split() for text in texts]
    said = [(word == "good") == (domain in known) for domain, _, word in words]
    return np.eye(2, dtype=np.float32)[np.array(said, np.int64)]
