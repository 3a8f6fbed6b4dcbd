"""Whether a challenger is better than a champion, from rows that both answered; valid however often one looks.

A row is a win (only the challenger is right), a loss (only the champion is right) or a tie; the challenger's edge is
delta = (wins - losses) / rows. Evidence is a bet against "the edge is at most f": four gamblers stake 5, 10, 20 or 40 %
of what they have on every row, at odds that are fair or worse when the edge is not above f. Their average money starts
at 1, and if the edge is never above f, the chance that it EVER reaches 20 is at most 1 in 20 (Ville's inequality).
Only counts matter: windows merge by adding counts, and their order is irrelevant.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

# A small stake wins slowly on small edges without going broke, a large one wins fast on large edges.
STAKES = np.array([0.05, 0.10, 0.20, 0.40])

# Evidence is money that multiplies with every row; above e^700 a float (and JSON) has no number for it.
_LOG_CEILING = 700.0

# How far from -1 and 1 an edge is still a number that the odds can be computed for.
_EDGE = 1e-9

# Labels per unit of discordance / edge squared until evidence reaches 20, by chance of having reached it (simulated).
_ROWS_FACTOR = {0.5: 6.5, 0.8: 12.0}

# `more_rows` shrinks an edge as if edges were N(0, 1 point): a lead on few rows is mostly luck.
_USUAL_EDGE = 0.01
_SMALLEST_LEAD = 0.001

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


class UnpairedError(ValueError):
    """Two models' answers are not about the same rows, so they cannot be compared."""


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows by who was right: only the challenger (wins), only the champion (losses), both or neither (ties)."""

    wins: int = 0
    losses: int = 0
    ties: int = 0

    def __post_init__(self) -> None:
        if min(self.wins, self.losses, self.ties) < 0:
            raise ValueError(f"{self}: counts of rows cannot be negative")

    def __add__(self, other: "Flips") -> "Flips":
        return Flips(self.wins + other.wins, self.losses + other.losses, self.ties + other.ties)

    @property
    def rows(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def discordant(self) -> int:
        return self.wins + self.losses

    @property
    def delta(self) -> float:
        """The challenger's accuracy minus the champion's; 0 without rows."""
        return (self.wins - self.losses) / self.rows if self.rows else 0.0

    @property
    def discordance(self) -> float:
        """Share of rows on which exactly one of the two is right; 0 without rows."""
        return self.discordant / self.rows if self.rows else 0.0

    @property
    def swapped(self) -> "Flips":
        """The same rows seen from the champion's side."""
        return Flips(self.losses, self.wins, self.ties)


def count_flips(champion_right: BoolArray, challenger_right: BoolArray) -> Flips:
    """Pairs two models row by row.

    Args: whether each model is right, bool arrays of shape (n,), both over the same row ids in the same order.
    Raises: UnpairedError if the shapes differ; TypeError if an array is not of bool (a NaN would count as right).
    """
    champion, challenger = np.asarray(champion_right), np.asarray(challenger_right)
    if champion.shape != challenger.shape or champion.ndim != 1:
        raise UnpairedError(f"champion {champion.shape}, challenger {challenger.shape}: score both on one list of rows")
    if champion.size and not champion.dtype == challenger.dtype == np.bool_:
        raise TypeError(f"right or wrong must be bool, not {champion.dtype} and {challenger.dtype}")
    wins, losses = int(np.sum(challenger > champion)), int(np.sum(champion > challenger))
    return Flips(wins, losses, champion.size - wins - losses)


def evidence(flips: Flips, above: float = 0.0) -> float:
    """Money won by betting that the challenger's edge is greater than `above`; 20 proves it at 1 in 20, at every look.

    1 without rows; at most e^700. Raises: ValueError unless -1 < above < 1.
    """
    return math.exp(min(_log_evidence(flips, above), _LOG_CEILING))


def harm(flips: Flips, beyond: float = 0.0) -> float:
    """Money won by betting that the challenger is worse by more than `beyond`: evidence with the sides swapped."""
    return evidence(flips.swapped, above=beyond)


@lru_cache(maxsize=256)  # several terms of the gate ask about the same rows
def interval(flips: Flips, level: float = 0.95) -> tuple[float, float]:
    """Every edge that neither bet has ruled out: (low, high) within [-1, 1], valid at every look; (-1, 1) without rows.

    Each side may err with probability (1 - level) / 2, so its bet must reach 2 / (1 - level) (40 at 95 %).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: must lie between 0 and 1")
    bar = math.log(2.0 / (1.0 - level))
    return _lowest_edge(flips, bar), -_lowest_edge(flips.swapped, bar)


def rows_needed(delta: float, discordance: float, margin: float = 0.01, power: float = 0.8) -> int:
    """Rows until a true edge `delta` is proven above -margin (evidence 20) with the given chance, .5 or .8.

    Raises: ValueError if the edge is not above -margin (no number of rows proves it) or for another power.
    """
    lead = delta + margin
    if lead <= 0.0:
        raise ValueError(f"edge {delta} is not above -{margin}: no number of rows can prove it")
    if power not in _ROWS_FACTOR:
        raise ValueError(f"power {power}: only {sorted(_ROWS_FACTOR)} are known")
    return _whole(_ROWS_FACTOR[power] * discordance / lead**2)


def more_rows(flips: Flips, margin: float = 0.01, odds: float = 20.0) -> int:
    """Labels after which, with about an even chance, evidence that the edge is above -margin reaches `odds`; 0: it has.

    An estimate, not a promise: the edge seen so far is shrunk towards 0, because a lead on few rows is mostly luck.
    """
    missing = math.log(odds) - _log_evidence(flips, -margin)
    if missing <= 0.0:
        return 0
    discordance = (flips.discordant + 1) / (flips.rows + 10)
    lead = max(_shrunk_edge(flips, discordance) + margin, _SMALLEST_LEAD)
    return _whole(2.0 * discordance * missing / lead**2)


def log_pots(flips: Flips, above: float = 0.0) -> FloatArray:
    """Logarithm of each gambler's money, shape (4,), after a start with one coin: `evidence` is the mean of the four.

    Raises: ValueError unless -1 < above < 1.
    """
    if not -1.0 < above < 1.0:
        raise ValueError(f"edge {above}: must lie between -1 and 1")
    pots: FloatArray = (
        flips.wins * np.log1p(STAKES * (1.0 - above) / (1.0 + above))
        + flips.losses * np.log1p(-STAKES)
        + flips.ties * np.log1p(-STAKES * above / (1.0 + above))
    )
    return pots


def _log_evidence(flips: Flips, above: float) -> float:
    # Not scipy's logsumexp: for four numbers it takes twenty times as long, and an interval asks a hundred times.
    return float(np.logaddexp.reduce(log_pots(flips, above))) - math.log(len(STAKES))


def _lowest_edge(flips: Flips, bar: float) -> float:
    """The edge at which the bet falls below `bar`; the bet only loses as the edge rises, so there is one."""

    def surplus(edge: float) -> float:
        return _log_evidence(flips, edge) - bar

    if surplus(-1.0 + _EDGE) < 0.0:
        return -1.0
    return float(brentq(surplus, -1.0 + _EDGE, 1.0 - _EDGE, xtol=1e-12))


def _shrunk_edge(flips: Flips, discordance: float) -> float:
    if not flips.rows:
        return 0.0
    return flips.delta * _USUAL_EDGE**2 / (_USUAL_EDGE**2 + discordance / flips.rows)


def _whole(rows: float) -> int:
    # Rounded first: 3000.0000000000005 rows are 3000.
    return math.ceil(round(rows, 6))
