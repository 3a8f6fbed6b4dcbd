"""When texts will have been answered: how much waits for each model, and how long the worker is still at work.

Each model's time is its own, so that a slow challenger does not make the champion look slow, or the other way round.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from services.server.latency import LatencyModel
from services.server.slots import Slot


class Forecast:
    """The owner of what waits by model, in tokens. What each has learned goes with its slot."""

    def __init__(self, budget: int) -> None:
        self._budget, self._usual = budget, LatencyModel()
        self._waiting: defaultdict[Slot, int] = defaultdict(int)
        self._busy_since: float | None = None
        self._busy_expected = 0.0

    @property
    def is_busy(self) -> bool:
        """The worker computes."""
        return self._busy_since is not None

    def busy_seconds(self) -> float:
        """How long the worker has been at what it does; 0 when idle."""
        return time.monotonic() - self._busy_since if self._busy_since is not None else 0.0

    @contextmanager
    def busy(self, expected_seconds: float) -> Iterator[None]:
        """The worker is at it until the block ends."""
        self._busy_since, self._busy_expected = time.monotonic(), expected_seconds
        try:
            yield
        finally:
            self._busy_since, self._busy_expected = None, 0.0

    def waits(self, slot: Slot, tokens: int) -> None:
        """So many more wait for this model; below 0: fewer."""
        self._waiting[slot] += tokens
        if not self._waiting[slot]:
            del self._waiting[slot]

    def observe(self, slot: Slot, tokens: int, seconds: float) -> None:
        """One batch ended."""
        slot.latency.observe(tokens, seconds)
        self._usual.observe(tokens, seconds)

    def computing(self, slot: Slot | None, tokens: int) -> float:
        """Seconds for so many tokens. A model that was never asked, or none, is thought as fast as the others were."""
        known = slot.latency if slot is not None and slot.latency.is_known else self._usual
        return known.seconds(tokens, self._budget)

    def under_way(self) -> float:
        """Seconds until the worker will have ended what it does."""
        return max(0.0, self._busy_expected - self.busy_seconds())

    def all_done(self, share: float = 1.0) -> float:
        """Seconds until this share of all that waits will have been computed."""
        waiting = sum(self.computing(slot, round(tokens * share)) for slot, tokens in self._waiting.items())
        return self.under_way() + waiting

    def answered(self, slot: Slot | None, tokens: int, share: float = 1.0) -> float:
        """Seconds until a request that came now would be answered, after this share of all that waits."""
        own = round(self._waiting.get(slot, 0) * share) if slot is not None else 0
        return self.all_done(share) - self.computing(slot, own) + self.computing(slot, own + tokens)
