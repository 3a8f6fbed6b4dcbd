"""What stops a promotion although the whole is better: a slice, an era, flips or probabilities proven worse.

A veto looks once, when a challenger is about to be promoted, so ordinary tests do; what a test cannot see on few rows
is named, not passed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, ttest_1samp

from services.evaluator.comparison import Flips, UnpairedError

FloatArray = NDArray[np.floating]

_BOUND_LEVEL = 0.95

# Simulated: 4 in 5 slices that drop by this much times sqrt(discordance / rows) are seen. A slice that drops has more
# discordance than one that does not; from the usual discordance, three rounds come as near as the simulation does.
_VISIBLE_FACTOR = 3.4
_USUAL_DISCORDANCE, _QUIET_DISCORDANCE = 0.1, 0.04
_VISIBLE_ROUNDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class BrierLosses:
    """Both models' Brier losses, row by row: float arrays of shape (n,) over the same rows in the same order."""

    champion: FloatArray
    challenger: FloatArray

    def __post_init__(self) -> None:
        if self.champion.shape != self.challenger.shape or self.champion.ndim != 1:
            shapes = f"champion {self.champion.shape}, challenger {self.challenger.shape}"
            raise UnpairedError(f"{shapes}: score both on one list of rows")

    @property
    def added(self) -> FloatArray:
        """What the challenger adds to the champion's loss; below 0 it is better."""
        return self.challenger - self.champion


def brier_losses(probabilities: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """(n,) each row's Brier loss, 0 to 1: half the squared distance between probabilities, (n, k), and truth, (n,)."""
    truth = np.eye(probabilities.shape[1])[labels]
    losses: FloatArray = ((probabilities - truth) ** 2).sum(axis=1) / 2.0
    return losses


@dataclass(frozen=True, slots=True)
class SliceVerdict:
    """What the slices say.

    Attributes:
        vetoed: Slices proven worse, the surest first.
        blind: Slices with too few discordant rows to ever be proven worse: evidence of nothing.
        visible: Slice -> smallest drop of accuracy that is seen 4 times in 5, about; 1 without rows.
        p_values: Slice -> one-sided mid-p for harm.
        judged: What alpha was divided by: how many slices could be judged (Tarone).
    """

    vetoed: tuple[str, ...]
    blind: tuple[str, ...]
    visible: dict[str, float]
    p_values: dict[str, float]
    judged: int


def slice_veto(slices: Mapping[str, Flips], margin: float, alpha: float) -> SliceVerdict:
    """Slices in which the challenger is proven worse and seen to lose more than `margin`, whatever their order.

    With no slice worse, one is vetoed with chance `alpha` at most, over all of them together. Only slices that could
    reach the level are paid for.
    Source: Tarone, "A modified Bonferroni method for discrete data", Biometrics 46, 1990.
    """
    judged = tarone([flips.discordant for flips in slices.values()], alpha)
    p_values = {name: mid_p(flips) for name, flips in slices.items()}
    worse = [name for name, p in p_values.items() if p <= alpha / judged and slices[name].delta < -margin]
    return SliceVerdict(
        vetoed=tuple(sorted(worse, key=lambda name: (p_values[name], name))),
        blind=tuple(sorted(name for name, flips in slices.items() if lowest_p(flips.discordant) > alpha / judged)),
        visible={name: visible_drop(flips.rows) for name, flips in slices.items()},
        p_values=p_values,
        judged=judged,
    )


def level_classes(slices: Mapping[str, Flips], recalls: Mapping[str, float]) -> frozenset[str]:
    """Classes that the challenger answers no worse than the champion its worst one.

    A champion that leans to one class is right on that class too often to be replaced by anything that leans less: what
    the other class gains is then taken from this one. That is no harm while no class falls below the lowest level that
    there was.
    Args: recalls: Slice of a class -> the champion's accuracy within it.
    """
    lowest = min(recalls.values(), default=math.nan)
    return frozenset(name for name, recall in recalls.items() if recall + slices[name].delta >= lowest)


def tarone(discordant: Sequence[int], alpha: float) -> int:
    """The smallest k >= 1 for which at most k slices can reach alpha / k, by their numbers of discordant rows."""
    lowest = [lowest_p(rows) for rows in discordant]
    k = 1
    while sum(p <= alpha / k for p in lowest) > k:
        k += 1
    return k


def lowest_p(discordant: int) -> float:
    """The smallest mid-p that so many discordant rows can have: all of them losses."""
    return float(0.5 ** (discordant + 1))


def mid_p(flips: Flips) -> float:
    """One-sided mid-p of McNemar's exact test for harm: a fair coin gives more losses, or (half of it) as many.

    Source: Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013.
    """
    losses, rows = flips.losses, flips.discordant
    return float(binom.sf(losses, rows, 0.5) + 0.5 * binom.pmf(losses, rows, 0.5))


def visible_drop(rows: int) -> float:
    """Drop of accuracy that a slice of so many rows shows 4 times in 5, about; 1 if it is never seen."""
    if not rows:
        return 1.0
    drop = 0.0
    for _ in range(_VISIBLE_ROUNDS):
        discordance = max(_USUAL_DISCORDANCE, drop + _QUIET_DISCORDANCE)
        drop = _VISIBLE_FACTOR * math.sqrt(discordance / rows)
    return min(drop, 1.0)


def flip_veto(flips: Flips, budget: float) -> tuple[float, float, bool]:
    """Bounds for the share of rows that flip from right to wrong, and whether it is proven to exceed the budget.

    Returns: (low, high, vetoed); each bound by itself is one-sided 95 % (Clopper-Pearson), (0, 1) without rows.
    Source: Yan et al., "Positive-Congruent Training", CVPR 2021.
    """
    if not flips.rows:
        return 0.0, 1.0, False
    # An interval of 90 % leaves 5 % on either side.
    bounds = binomtest(flips.losses, flips.rows).proportion_ci(2.0 * _BOUND_LEVEL - 1.0, method="exact")
    return float(bounds.low), float(bounds.high), bool(bounds.low > budget)


def brier_veto(
    champion_losses: FloatArray, challenger_losses: FloatArray, margin: float, alpha: float = 0.05
) -> tuple[float, bool]:
    """Whether the challenger's mean Brier loss is proven more than `margin` above the champion's: (p, vetoed).

    p is of the paired, one-sided t-test; NaN, which vetoes nothing, on fewer than two rows or if a loss is no number.
    Raises: UnpairedError if the shapes differ.
    """
    added = BrierLosses(champion_losses, challenger_losses).added
    if added.size < 2 or not np.isfinite(added).all():
        return math.nan, False
    if np.ptp(added) == 0.0:
        p = 0.0 if added[0] > margin else 1.0
    else:
        p = float(ttest_1samp(added, margin, alternative="greater").pvalue)
    return p, p < alpha
