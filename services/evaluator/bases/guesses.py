"""Whether one of two bases guesses the same masked words of the same reviews with fewer nats. Pure."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from services.evaluator.comparison import UnpairedError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# e^700 is about the largest float.
_LARGEST_EXPONENT = 700.0
# A lead of so few standard errors says nothing about how many reviews would prove it.
_SMALLEST_LEAD = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Guesses:
    """What two bases lost where they guessed the same masked words.

    Attributes:
        before: (n,) nats of the parent, each review's guesses together.
        after: (n,) nats of the adapted base.
        counts: (n,) words guessed; a review without any says nothing.

    Raises: UnpairedError if the shapes differ.
    """

    before: FloatArray
    after: FloatArray
    counts: IntArray

    def __post_init__(self) -> None:
        if not self.before.shape == self.after.shape == self.counts.shape or self.counts.ndim != 1:
            shapes = f"parent {self.before.shape}, adapted {self.after.shape}, guesses {self.counts.shape}"
            raise UnpairedError(f"{shapes}: let both bases guess the words of one list of reviews")

    @property
    def rows(self) -> int:
        """Reviews in which a word was guessed."""
        return int((self.counts > 0).sum())

    @property
    def total(self) -> int:
        """All guesses."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Saving:
    """How many nats a guess the adapted base saves, and how sure that is.

    Attributes:
        nats: Below 0 it costs more.
        low: End of the interval that goes with the two tests: above 0 if and only if `p_fewer` is below alpha; None
            where the reviews are too few, or too unequal, to bound it.
        high: Its other end, below 0 if and only if `p_more` is below alpha.
        p_fewer: Of the one-sided test for "no fewer"; `p_more`: for "no more".
    """

    nats: float
    low: float | None
    high: float | None
    p_fewer: float
    p_more: float


def nats_a_guess(nats: FloatArray, counts: IntArray) -> float:
    """Every guess weighing the same, as perplexity has it. Args: (n,) both, at least one guess."""
    return float(nats.sum()) / int(counts.sum())


def perplexity(nats: float) -> float:
    """Among how many words, all as likely, a guess would cost as much."""
    return math.exp(min(nats, _LARGEST_EXPONENT))


def saving(guesses: Guesses, alpha: float) -> Saving | None:
    """Tests both directions at one-sided level `alpha`; None on fewer than two reviews, or if a loss is no number.

    A paired t-test over reviews of each review's nats before - after, summed over its guesses. Guesses of one review
    are not independent, reviews are. And sums, not the mean of each review: that would count a tweet with one guess as
    much as an essay with fifty, which is noisier and asks for something else than perplexity; sums are above 0 on
    average exactly if a guess costs less on average. The interval of the saving a guess holds every value r that the
    same test does not rule out of the differences less r nats a guess (Fieller).
    Simulated with lengths as reviews have them, also where a few gain much, and where long ones gain and short ones
    lose: an equal base passes in at most 5.0 % at level .05; it fails in at most 9.4 % on 5 to 50 reviews, 6.8 % on
    200.
    Source of the interval: Fieller, "Some problems in interval estimation", JRSS B 16, 1954.
    """
    asked = guesses.counts > 0
    saved, counts = guesses.before[asked] - guesses.after[asked], guesses.counts[asked].astype(np.float64)
    if len(saved) < 2 or not np.isfinite(saved).all():
        return None
    low, high = _fieller(saved, counts, alpha)
    p_fewer = _p_above_zero(saved)
    return Saving(float(saved.sum() / counts.sum()), low, high, p_fewer, 1.0 - p_fewer)


def more_reviews(guesses: Guesses, found: Saving, alpha: float) -> int | None:
    """Reviews that are missing to prove what was seen, with about an even chance; None if hardly anything was saved."""
    rows = guesses.rows
    seen, needed = (float(student.isf(p, rows - 1)) for p in (found.p_fewer, alpha))
    if seen < _SMALLEST_LEAD:
        return None
    # The lead in standard errors grows with the square root of the reviews.
    return max(0, math.ceil(rows * ((needed / seen) ** 2 - 1.0)))


def _p_above_zero(differences: FloatArray) -> float:
    if np.ptp(differences) == 0.0:
        return 0.5 - 0.5 * float(np.sign(differences[0]))
    return float(ttest_1samp(differences, 0.0, alternative="greater").pvalue)


def _fieller(saved: FloatArray, counts: FloatArray, alpha: float) -> tuple[float | None, float | None]:
    """Roots of (mean(saved) - r mean(counts))^2 = t^2 var(saved - r counts) / n, if they enclose an interval."""
    rows = len(saved)
    scale = float(student.isf(alpha, rows - 1)) ** 2 / rows
    cov = np.cov(saved, counts)
    a = counts.mean() ** 2 - scale * cov[1, 1]
    b = saved.mean() * counts.mean() - scale * cov[0, 1]
    c = saved.mean() ** 2 - scale * cov[0, 0]
    if a <= 0.0:
        return None, None
    reach = math.sqrt(max(b * b - a * c, 0.0))
    return float((b - reach) / a), float((b + reach) / a)
