"""What a policy's run comes to, by rows that no model ever learned."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from bench.loop.playing import Answer, Played
from bench.loop.stream import Labels, Stream
from services.control.backtest.judging import BASELINE
from services.control.backtest.result import HARM

LEVEL = 0.95


@dataclass(frozen=True)
class Outcome:
    """One policy on one stream; accuracies and what is lost or won of them as shares of rows.

    Attributes:
        accuracy: Test, then train: of the model in service on each window before anything learns it, true labels.
        final_accuracy: Of the last model, on untouched rows, all domains alike.
        backward_transfer: Of the last model on domains that are past, less what the model in service had when each
            one's last window had just been learned. Below 0 it has forgotten.
            Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory", NeurIPS 2017.
        forgotten: The same domains: the best that any model in service had since the domain came, less the last
            model's. Never below 0. Source: Chaudhry et al., "Riemannian Walk", ECCV 2018.
        harmful: Promotions that cost more than half a point on untouched rows of the domains met so far, all alike.
        worst: What the worst promotion did.
        unserved: Windows that the baseline had to answer, because nothing had been promoted yet.
        row_passes: Of all trainings.
    """

    accuracy: float
    final_accuracy: float
    backward_transfer: float
    forgotten: float
    promotions: int
    harmful: int
    worst: float
    unserved: int
    trainings: int
    row_passes: float
    seconds: float
    by_window: tuple[float, ...]


FIGURES = tuple(field.name for field in fields(Outcome) if field.name != "by_window")


class Estimate(NamedTuple):
    """A mean over streams and half of its 95 % interval (Student's t); 0 for a single stream, which has none."""

    mean: float
    half: float


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval."""
    if len(values) < 2:
        return Estimate(fmean(values), 0.0)
    spread = float(student.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Estimate(fmean(values), spread * stdev(values) / len(values) ** 0.5)


def figure(outcomes: Sequence[Outcome], name: str) -> Estimate:
    """One figure over the streams; the worst promotion is the worst of all, without an interval."""
    values = [float(getattr(outcome, name)) for outcome in outcomes]
    return Estimate(min(values), 0.0) if name == "worst" else estimate(values)


def measure(played: Played, stream: Stream, answer: Answer) -> Outcome:
    """Everything about one run."""
    return _Examiner(played, stream, answer).outcome()


class _Examiner:
    """Asks the models that served, each about each domain once."""

    def __init__(self, played: Played, stream: Stream, answer: Answer) -> None:
        self._played, self._stream, self._answer = played, stream, answer
        self._known: dict[tuple[str, str], float] = {}

    def outcome(self) -> Outcome:
        played, by_window, edges = self._played, self._by_window(), self._edges()
        return Outcome(
            accuracy=fmean(by_window),
            final_accuracy=self._on_met(played.serving[-1], len(by_window) - 1),
            backward_transfer=_mean([self._last(domain) - self._on(then, domain) for domain, then in self._past()]),
            forgotten=_mean([self._best(domain) - self._last(domain) for domain, _ in self._past()]),
            promotions=len(edges),
            harmful=sum(edge < -HARM for edge in edges),
            worst=min([0.0, *edges]),
            unserved=min((BASELINE, *played.serving).count(BASELINE), len(by_window)),
            trainings=played.trainings,
            row_passes=played.row_passes,
            seconds=played.seconds,
            by_window=by_window,
        )

    def _by_window(self) -> tuple[float, ...]:
        before = (BASELINE, *self._played.serving)
        return tuple(
            self._accuracy(model, [row.text for row in era.rows], self._stream.true_labels(place))
            for place, (model, era) in enumerate(zip(before, self._stream.eras, strict=False))
        )

    def _edges(self) -> list[float]:
        """Of each promotion, over the model that it replaced."""
        changes = enumerate(pairwise((BASELINE, *self._played.serving)))
        return [self._on_met(new, place) - self._on_met(old, place) for place, (old, new) in changes if new != old]

    def _past(self) -> list[tuple[str, str]]:
        """Domains whose last window is behind, each with the model in service right after it."""
        domains = self._stream.domains
        ends = {domain: place for place, domain in enumerate(domains)}
        return [(domain, self._played.serving[place]) for domain, place in ends.items() if domain != domains[-1]]

    def _best(self, domain: str) -> float:
        since = self._played.serving[self._stream.domains.index(domain) :]
        return max(self._on(model, domain) for model in dict.fromkeys(since))

    def _last(self, domain: str) -> float:
        return self._on(self._played.serving[-1], domain)

    def _on_met(self, model: str, place: int) -> float:
        return fmean(self._on(model, domain) for domain in self._stream.met(place))

    def _on(self, model: str, domain: str) -> float:
        """On a domain's untouched rows."""
        if (model, domain) not in self._known:
            texts, labels = zip(*self._stream.truth[domain], strict=True)
            self._known[model, domain] = self._accuracy(model, texts, np.array(labels))
        return self._known[model, domain]

    def _accuracy(self, model: str, texts: Sequence[str], labels: Labels) -> float:
        return float((self._answer(model, texts).argmax(axis=1) == labels).mean())


def _mean(values: Sequence[float]) -> float:
    """0 where nothing is past: nothing can have been forgotten."""
    return fmean(values) if values else 0.0
