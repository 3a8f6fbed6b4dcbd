"""Whether a model's errors have risen by more than chance explains. It may ask for training; it never takes one back.

One model's errors also rise when the stream gets harder for every model, so they prove nothing about the model.
Source: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007 (river's ADWIN).
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Drift:
    """One rise: where it was seen, the error rate with the rows of before, and without them."""

    offset: int
    before: float
    after: float


class ErrorDrift:
    """Looks at one model's errors in the order of the stream. After a rise it starts over, and rests a while."""

    def __init__(self, delta: float, cooldown_rows: int) -> None:
        """Args: delta: chance of calling noise a change; cooldown_rows: rows after a rise that are not looked at."""
        self._delta, self._cooldown = delta, cooldown_rows
        self._resting = 0
        self._adwin = _adwin(delta)

    def update(self, offset: int, wrong: bool) -> Drift | None:
        """Takes one row; the rise that it shows, if any. A fall of the error is none."""
        if self._resting:
            self._resting -= 1
            return None
        before = float(self._adwin.estimation)
        self._adwin.update(float(wrong))
        after = float(self._adwin.estimation)
        if not self._adwin.drift_detected or after <= before:
            return None
        self._adwin, self._resting = _adwin(self._delta), self._cooldown
        return Drift(offset, before, after)


def _adwin(delta: float) -> Any:
    # Loaded when a champion is watched and not before: it brings pandas and scikit-learn along.
    from river.drift import ADWIN

    untyped: Any = ADWIN
    return untyped(delta=delta)
