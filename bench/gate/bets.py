"""The gate's evidence in a form quick enough for millions of looks; a test holds it to the gate's own."""

import math
from functools import cache

from scipy.stats import binomtest

from services.evaluator.comparison import STAKES, Flips
from services.evaluator.guards import flip_veto

# As the gate's own: above e^700 a float has no number for it.
_LOG_CEILING = 700.0


class Bet:
    """`comparison.evidence` at one fixed edge, called with counts: microseconds where the gate's own takes a hundred.

    `against(flips)` is `comparison.harm(flips, beyond)` for a bet made with `above=beyond`.
    """

    def __init__(self, above: float = 0.0) -> None:
        odds = 1.0 + above
        self._rates = [
            (math.log1p(stake * (1.0 - above) / odds), math.log1p(-stake), math.log1p(-stake * above / odds))
            for stake in STAKES.tolist()
        ]

    def __call__(self, flips: Flips) -> float:
        return self._money(flips.wins, flips.losses, flips.ties)

    def against(self, flips: Flips) -> float:
        """The same bet on the champion."""
        return self._money(flips.losses, flips.wins, flips.ties)

    def _money(self, wins: int, losses: int, ties: int) -> float:
        pots = [wins * win + losses * loss + ties * tie for win, loss, tie in self._rates]
        most = max(pots)
        mean = sum(math.exp(pot - most) for pot in pots) / len(pots)
        return math.exp(min(most + math.log(mean), _LOG_CEILING))


@cache
def over_budget(flips: Flips, budget: float) -> bool:
    """The gate's own veto of negative flips, remembered."""
    return flip_veto(flips, budget)[2]


@cache
def mcnemar(wins: int, losses: int) -> float:
    """One-sided p of the exact McNemar (sign) test for 'the challenger is better'; 1 without discordant rows."""
    return float(binomtest(wins, wins + losses, alternative="greater").pvalue) if wins + losses else 1.0
