"""Whether the model in service is worse than the one before it, watched on labels as they arrive.

The same four gamblers as in `comparison.py`, now betting that the previous model's edge is greater than `floor`. Before
each batch every pot gets one more coin, so that a harm which begins late is found as fast as one that was there from
the start. While the model in service is worse by `floor` at most, the mean pot grows by one coin a batch at most: false
alarms lie `alarm` batches apart, or more, on average. A stream that gets harder for both models alarms nobody.

Source: Shin, Ramdas and Rinaldo, "E-detectors", New England Journal of Statistics in Data Science 2, 2024.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from services.evaluator.comparison import STAKES, Flips, log_pots

_LOG_CEILING = 700.0
_NONE = Flips()


@dataclass(frozen=True, slots=True)
class Watch:
    """One comparison's state, unchangeable: the same rows in the same order give the same state again.

    Attributes:
        floor: Accuracy that the model in service may be worse by.
        alarm: Mean pot that proves that it is worse by more.
        batch: Rows between two bets. Fewer wait for more.
        waiting: Rows since the last bet; wins are those that only the previous model has right.
        seen: All rows before those.
        log_money: Logarithms of the four pots, so that long harm stays a number; minus infinity before the first bet.
        alarmed: A bet has reached `alarm`; it stays so.
    """

    floor: float = 0.01
    alarm: float = 200.0
    batch: int = 50
    waiting: Flips = _NONE
    seen: Flips = _NONE
    log_money: tuple[float, ...] = (-math.inf,) * len(STAKES)
    alarmed: bool = False

    def update(self, only_previous_right: int, only_current_right: int, ties: int) -> "Watch":
        """The state after more labelled rows, by who was right: one row, or several that arrived together.

        Bets are made on what has gathered, so give rows one by one where the state is to be rebuilt from a log that
        may be cut elsewhere.
        """
        gathered = self.waiting + Flips(only_previous_right, only_current_right, ties)
        if gathered.rows < self.batch:
            return replace(self, waiting=gathered)
        pots = np.logaddexp(self.log_money, 0.0) + log_pots(gathered, self.floor)
        bet = replace(self, waiting=_NONE, seen=self.seen + gathered, log_money=tuple(map(float, pots)))
        return replace(bet, alarmed=self.alarmed or bet.mean_pot >= self.alarm)

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self.seen.rows + self.waiting.rows

    @property
    def mean_pot(self) -> float:
        """The four pots' mean, 0 before the first bet; at most e^700."""
        return math.exp(min(float(np.logaddexp.reduce(self.log_money)) - math.log(len(STAKES)), _LOG_CEILING))
