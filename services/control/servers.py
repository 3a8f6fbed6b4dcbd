"""Who serves what: every replica's last word, how old it is, and who does not follow the ledger. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.control.output import Row
from shared.canary import MOVES_THE_CHAMPION
from shared.events import CanaryState, Decision, ServerPhase, ServerState


@dataclass(frozen=True, slots=True)
class Replica:
    """What one replica said last, and how many seconds ago. Silent: so long that it is gone, or cut off from Kafka."""

    state: ServerState
    age_seconds: float
    is_silent: bool

    @property
    def replica_id(self) -> str:
        """Its name."""
        return self.state.replica_id

    @property
    def canary(self) -> CanaryState | None:
        """What it has beside the champion."""
        return self.state.canary

    def row(self) -> Row:
        """Its line in a table; JSON has the same."""
        state, canary = self.state, self.canary
        return {
            "replica": state.replica_id,
            "version": state.version,
            "plan": state.plan,
            "phase": "silent" if self.is_silent else state.phase.value,
            "reason": state.reason,
            "canary": f"{canary.version} {canary.role.value} {canary.share:.2%}" if canary else None,
            "canary_phase": canary.phase.value if canary else None,
            "canary_reason": canary.reason if canary else None,
            "url": state.url,
            "seconds_ago": round(self.age_seconds),
        }


def replicas(states: Sequence[ServerState], silent_seconds: float, now: datetime) -> list[Replica]:
    """Every replica that ever spoke, by name."""
    return [_replica(state, silent_seconds, now) for state in states]


def _replica(state: ServerState, silent_seconds: float, now: datetime) -> Replica:
    age = max(0.0, (now - state.at).total_seconds())  # clocks of machines differ a little
    return Replica(state, age, age > silent_seconds)


def behind(found: Sequence[Replica], ledger: Sequence[Decision], late_seconds: float, now: datetime) -> list[str]:
    """What is wrong: replicas that speak and do not serve the champion although it was decided long enough ago.

    Silent ones are not among them: one that was taken away for good must not raise an alarm for ever.
    """
    moves = [entry for entry in ledger if entry.verdict in MOVES_THE_CHAMPION]
    if not moves or (now - moves[-1].decided_at).total_seconds() <= late_seconds:
        return []
    champion = moves[-1].champion_after
    return [
        f"{replica.replica_id} serves version {replica.state.version or 'none'}, the champion is {champion}"
        f"{f': {replica.state.reason}' if replica.state.phase is ServerPhase.FAILED else ''}"
        for replica in found
        if not replica.is_silent and replica.state.version != champion
    ]
