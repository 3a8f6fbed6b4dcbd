"""Whether a window's labels contradict everything known, so that its rows must be locked away.

Needs two proofs. Its challenger alone being proven worse would lock out nearly half of the windows of a new domain.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from scipy.stats import binom, binomtest

from services.evaluator.comparison import Flips, harm
from shared.gate_settings import QuarantineSettings

# Error spent on the accuracy elsewhere being overestimated; the rest of alpha is left for the window itself.
_BOUND_ERROR = 0.001


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of some rows a model got right."""

    right: int
    rows: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.rows:
            raise ValueError(f"{self}: the right rows must lie between 0 and all")

    @property
    def accuracy(self) -> float:
        """Share of right rows; 0 without rows."""
        return self.right / self.rows if self.rows else 0.0


class QuarantineVerdict(BaseModel):
    """Whether a window is locked away, why (not), and the numbers to recompute it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    quarantine: bool
    reason: str
    numbers: dict[str, float]


def quarantine_verdict(
    elsewhere: Flips, champion_here: Tally | None, champion_elsewhere: Tally | None, settings: QuarantineSettings
) -> QuarantineVerdict:
    """Locks a window away only if its challenger is proven worse elsewhere and the champion fails on it alone.

    Args: the challenger against the champion on held-out rows of OTHER windows; the champion's tally on this window's
    own hold-out and on the rest of the pool, None without a scored champion model (a baseline is none): never locked.
    """
    if champion_here is None or champion_elsewhere is None:
        return QuarantineVerdict(quarantine=False, reason="no scored champion model to compare with", numbers={})
    found = harm(elsewhere)
    p = drop_p_value(champion_here, champion_elsewhere, settings.drop)
    worse, dropped = found >= settings.odds, p <= settings.alpha
    return QuarantineVerdict(
        quarantine=worse and dropped,
        reason=(
            f"challenger {'proven' if worse else 'not proven'} worse on other windows (evidence {found:.4g}); "
            f"champion at {champion_here.accuracy:.3f} here, {champion_elsewhere.accuracy:.3f} elsewhere, "
            f"a drop of more than {settings.drop:g} {'proven' if dropped else 'not proven'} (p {p:.3g})"
        ),
        numbers={
            "harm_elsewhere": found,
            "champion_right_here": champion_here.right,
            "champion_rows_here": champion_here.rows,
            "champion_right_elsewhere": champion_elsewhere.right,
            "champion_rows_elsewhere": champion_elsewhere.rows,
            "drop_p": p,
        },
    )


def drop_p_value(here: Tally, elsewhere: Tally, drop: float) -> float:
    """Exact one-sided p for "accuracy here lies more than `drop` below accuracy elsewhere"; 1 when nothing can show it.

    The rows differ, so nothing can be paired. The accuracy elsewhere is unknown: it is taken at its one-sided
    Clopper-Pearson bound of error .001, the least favourable value left, and that error is added to the binomial tail.
    So the level holds at every sample size, unlike a z-test's, and an unconditional exact test's search is not needed.
    Source: Berger and Boos, "P values maximized over a confidence set for the nuisance parameter", JASA 89, 1994.
    """
    if not here.rows or not elsewhere.rows:
        return 1.0
    bound = binomtest(elsewhere.right, elsewhere.rows, alternative="greater")
    expected = float(bound.proportion_ci(1.0 - _BOUND_ERROR, method="exact").low) - drop
    if expected <= 0.0:
        return 1.0
    return min(1.0, float(binom.cdf(here.right, here.rows, expected)) + _BOUND_ERROR)
