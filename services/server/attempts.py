"""When something that failed is tried again."""

import math
import time

from services.server.swapper import permanent
from shared.errors import RetryableError
from shared.retry import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS

# Trying a model costs the one in service memory and processor time.
FIRST_RELOAD_SECONDS, LONGEST_RELOAD_SECONDS = 10.0, 300.0


class Attempt:
    """What became of the latest attempt to bring somebody into service, and when the next one may be made."""

    def __init__(self) -> None:
        self._of: object = None
        self._wait_seconds, self._not_before = 0.0, 0.0

    def due(self, of: object) -> bool:
        """Somebody else, or one whose failure may have passed."""
        return of != self._of or time.monotonic() >= self._not_before

    def failed(self, of: object, error: Exception) -> None:
        """Notes a failure; the wait doubles from time to time, as far as the kind of error has it."""
        self._wait(of, *_waits(error))

    def give_up(self, of: object) -> None:
        """Not again."""
        self._wait(of, math.inf, math.inf)

    def _wait(self, of: object, first_seconds: float, longest_seconds: float) -> None:
        if of != self._of:
            self._of, self._wait_seconds = of, 0.0
        self._wait_seconds = min(max(first_seconds, 2 * self._wait_seconds), longest_seconds)
        self._not_before = time.monotonic() + self._wait_seconds


def _waits(error: Exception) -> tuple[float, float]:
    """The first and the longest seconds to wait after this failure; infinite: only a new decision changes it."""
    if permanent(error):
        return math.inf, math.inf
    if isinstance(error, RetryableError):
        return FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
    return FIRST_RELOAD_SECONDS, LONGEST_RELOAD_SECONDS
