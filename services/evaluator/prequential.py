"""Test, then train: how often each model was right on reviews that nothing had learned from when it answered.

Source: Gama, Sebastião, Rodrigues, "On evaluating stream learning algorithms", Machine Learning 90, 2013: figures over
everything are slow to show a change, so those over the latest rows stand beside them.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from services.evaluator.comparison import Flips
from services.evaluator.quarantine import Tally
from shared.metrics import Role


class Prequential:
    """Counts by model, of all rows and of the latest, and the champion paired with every other."""

    def __init__(self, roles: Iterable[Role], recent_rows: int) -> None:
        """Args: roles: who answers every row; the champion among them."""
        self._right = dict.fromkeys(roles, 0)
        self._recent: deque[Mapping[Role, bool]] = deque(maxlen=recent_rows)
        self._both_right = dict.fromkeys(self._right, 0)
        self.rows = 0

    def add(self, right: Mapping[Role, bool]) -> None:
        """Takes one row: whether each model was right."""
        self.rows += 1
        self._recent.append(right)
        champion = right[Role.CHAMPION]
        for role in self._right:
            self._right[role] += right[role]
            self._both_right[role] += right[role] and champion

    def overall(self, role: Role) -> Tally:
        """All rows."""
        return Tally(self._right[role], self.rows)

    def recent(self, role: Role) -> Tally:
        """The latest rows."""
        return Tally(sum(row[role] for row in self._recent), len(self._recent))

    def against(self, role: Role) -> Flips:
        """Wins: only the champion was right; losses: only the other."""
        both = self._both_right[role]
        wins, losses = self._right[Role.CHAMPION] - both, self._right[role] - both
        return Flips(wins, losses, self.rows - wins - losses)
