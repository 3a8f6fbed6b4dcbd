"""Work beside the answers: a step at a time, within a share of the time, in moments when nobody is answered."""

import time
from collections.abc import Callable

from shared.plan_settings import PlanSettings

LOOK_SECONDS = 0.005


class AbandonedError(Exception):
    """The work is not wanted any more."""


class Turns:
    """Lets one thread work now and then."""

    def __init__(self, settings: PlanSettings, busy: Callable[[], bool], abandoned: Callable[[float], bool]) -> None:
        """Args: busy: whether the model is at work. abandoned: waits so many seconds; true: go no further."""
        self._rest_for_each = 1 / settings.share - 1
        self._patience, self._busy, self._abandoned = settings.patience_seconds, busy, abandoned
        self._owed = 0.0

    def take(self, work: Callable[[], object]) -> None:
        """Waits for its turn and does the work.

        Raises:
            AbandonedError: Not wanted any more. What the work raises is raised here.
        """
        self._rest(self._owed)
        self._wait_for_a_gap()
        began = time.monotonic()
        try:
            work()
        finally:
            self._owed = (time.monotonic() - began) * self._rest_for_each

    def _wait_for_a_gap(self) -> None:
        """A model that is always at work has the most to win, so patience ends."""
        until = time.monotonic() + self._patience
        while self._busy() and time.monotonic() < until:
            self._rest(LOOK_SECONDS)

    def _rest(self, seconds: float) -> None:
        if self._abandoned(seconds):
            raise AbandonedError
