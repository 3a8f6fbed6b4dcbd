"""What one reign's fresh reviews add up to: accuracies, the watches against earlier versions, and drift.

A function of the rows in the order of the stream and of nothing else, so that a restart folds them again to the same
state, and no row counts twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.evaluator.bets import Bet
from services.evaluator.drift import Drift, ErrorDrift
from services.evaluator.prequential import Prequential
from services.evaluator.watch import Watch
from shared.metrics import Role
from shared.monitor_settings import MonitorSettings


@dataclass(frozen=True, slots=True)
class Alarm:
    """The champion is proven worse than an earlier version, by this bet."""

    role: Role
    bet: Bet


class Vigil:
    """Counts row by row for accuracy, and batch by batch for evidence.

    A batch that no model gets mostly right tells of its labels, not of the models: were most labels flipped, the better
    model would look the worse. It is left out whole, by a rule that treats all models alike, so that it favours none.
    """

    def __init__(self, roles: Iterable[Role], settings: MonitorSettings) -> None:
        """Args: roles: who answers every row; the champion among them."""
        self._roles, self._settings = tuple(roles), settings
        self.prequential = Prequential(self._roles, settings.recent_rows)
        self.watches: dict[Role, Watch] = {role: _watch(settings) for role in self._roles if role is not Role.CHAMPION}
        self.alarms: dict[Role, Alarm] = {}
        self._bets: dict[Role, list[Bet]] = {role: [] for role in self.watches}
        self.drifts: list[Drift] = []
        self.distrusted_rows = 0
        self._errors = ErrorDrift(settings.drift_delta, settings.drift_cooldown_rows)
        self._both_right = dict.fromkeys(self.watches, 0)
        self._batch: list[tuple[int, Mapping[Role, bool]]] = []

    def add(self, offset: int, right: Mapping[Role, bool]) -> None:
        """Takes the next row: its place in the stream, and whether each model was right."""
        self.prequential.add(right)
        self._batch.append((offset, right))
        if len(self._batch) == self._settings.batch_rows:
            self._weigh(self._batch)
            self._batch = []

    def _weigh(self, batch: list[tuple[int, Mapping[Role, bool]]]) -> None:
        most_right = max(sum(right[role] for _, right in batch) for role in self._roles)
        if most_right <= self._settings.trust_floor * len(batch):
            self.distrusted_rows += len(batch)
            return
        for offset, right in batch:
            if drift := self._errors.update(offset, not right[Role.CHAMPION]):
                self.drifts.append(drift)
        for role in self.watches:
            self._bet(role, batch)

    def _bet(self, role: Role, batch: list[tuple[int, Mapping[Role, bool]]]) -> None:
        wins = sum(right[Role.CHAMPION] and not right[role] for _, right in batch)
        losses = sum(right[role] and not right[Role.CHAMPION] for _, right in batch)
        watch = self.watches[role].update(losses, wins, len(batch) - wins - losses)
        self.watches[role] = watch
        self._both_right[role] += sum(right[role] and right[Role.CHAMPION] for _, right in batch)
        bet = Bet(batch[-1][0], watch.seen.swapped, self._both_right[role], watch.mean_pot)
        self._bets[role].append(bet)
        if watch.alarmed and role not in self.alarms:
            self.alarms[role] = Alarm(role, bet)

    def take_bets(self) -> dict[Role, list[Bet]]:
        """The bets made since the last call."""
        taken, self._bets = self._bets, {role: [] for role in self.watches}
        return taken


def _watch(settings: MonitorSettings) -> Watch:
    return Watch(floor=settings.floor, alarm=settings.alarm, batch=settings.batch_rows)
