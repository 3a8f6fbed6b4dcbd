"""How long the model takes: a + b times tokens for one batch, learned from the batches as they run."""

from dataclasses import dataclass

# A batch counts half as much after so many more: soon enough after a swap or when the machine gets busy.
HALF_LIFE_BATCHES = 50.0
_KEPT = 0.5 ** (1 / HALF_LIFE_BATCHES)
# Tokens of batches must spread at least so much, as a share of their mean, to tell a from b.
LEAST_SPREAD = 0.05


@dataclass(slots=True)
class LatencyModel:
    """Weighted least squares of seconds on tokens, the latest batches weighing most."""

    _weight: float = 0.0
    _tokens: float = 0.0
    _seconds: float = 0.0
    _tokens_squared: float = 0.0
    _tokens_seconds: float = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """One batch ended."""
        self._weight = self._weight * _KEPT + 1
        self._tokens = self._tokens * _KEPT + tokens
        self._seconds = self._seconds * _KEPT + seconds
        self._tokens_squared = self._tokens_squared * _KEPT + tokens * tokens
        self._tokens_seconds = self._tokens_seconds * _KEPT + tokens * seconds

    @property
    def is_known(self) -> bool:
        """Some batch was observed."""
        return self._weight > 0

    @property
    def per_batch(self) -> float:
        """a, in seconds; 0 before the first batch and while batches are too much alike to tell."""
        return max(0.0, (self._seconds - self.per_token * self._tokens) / self._weight) if self._weight else 0.0

    @property
    def per_token(self) -> float:
        """b, in seconds; 0 before the first batch."""
        if self._tokens == 0:
            return 0.0
        through_zero = self._seconds / self._tokens
        mean = self._tokens / self._weight
        variance = self._tokens_squared / self._weight - mean * mean
        if variance <= (LEAST_SPREAD * mean) ** 2:
            return through_zero
        slope = (self._tokens_seconds / self._weight - mean * self._seconds / self._weight) / variance
        # Neither part of the time can be negative.
        return min(max(slope, 0.0), through_zero)

    def seconds(self, tokens: int, budget: int) -> float:
        """For so many tokens, in batches of the budget; 0 while nothing is known."""
        batches = -(-tokens // budget)
        return batches * self.per_batch + tokens * self.per_token
