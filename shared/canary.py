"""Which challenger answers beside the champion: decisions, orders and the setting, folded. Pure.

The two topics have no order between them, so nothing here depends on which is read first: an order names the newest
entry of the ledger that it knew, and holds until a later one moves the champion. All replicas come to the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.canary_settings import CanarySettings
from shared.errors import ModelError
from shared.events import CanaryTerms, Command, CommandKind, Decision, ServingRole, Verdict
from shared.lineage import Lineage

MOVES_THE_CHAMPION = (Verdict.PROMOTE, Verdict.ROLLBACK)
SETTING = "server.canary"

CanaryRole = Literal[ServingRole.CANARY, ServingRole.SHADOW]


@dataclass(frozen=True, slots=True)
class Canary:
    """A challenger that should answer beside the champion, or be silently asked.

    Attributes:
        share: Canary: of the callers. Shadow: of the texts. Above 0.
        by: Who ordered it; `server.canary`: the setting.
        why: As ordered.
        order: The order's id; None: the setting.
    """

    version: str
    role: CanaryRole
    share: float
    by: str = SETTING
    why: str = "the newest challenger that waits"
    order: str | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """The latest order about a canary. `version` None: the champion answers alone."""

    version: str | None
    terms: CanaryTerms
    command: Command


class CanaryFold:
    """The wanted canary, event by event. What was seen already changes nothing."""

    def __init__(self, settings: CanarySettings) -> None:
        self._settings = settings
        self._number = self._moved = 0
        self._champion: str | None = None
        self._settled: dict[str, Decision] = {}
        self._waiting: dict[str, None] = {}
        self._order: _Order | None = None

    @property
    def number(self) -> int:
        """The newest entry of the ledger that was seen; 0: none."""
        return self._number

    def decided(self, decision: Decision) -> None:
        """Takes the next entry of the ledger."""
        if decision.number <= self._number:
            return
        self._number = decision.number
        if decision.verdict in MOVES_THE_CHAMPION:
            self._champion, self._moved = decision.champion_after, decision.number
            self._waiting.clear()
        if decision.version is None:
            return
        if decision.verdict is not Verdict.UNDECIDED:
            self._settled[decision.version] = decision
            self._waiting.pop(decision.version, None)
        elif decision.version not in self._settled:
            self._waiting.setdefault(decision.version)

    def ordered(self, command: Command) -> None:
        """Takes the next order; those about other things change nothing."""
        if command.kind is CommandKind.CANARY and command.canary is not None:
            self._order = _Order(command.target, command.canary, command)

    @property
    def canary(self) -> Canary | None:
        """Who should be beside the champion now."""
        if self._champion is None:
            return None
        order = self._order
        if order is not None and self._holds(order):
            if order.version is None or not order.terms.share:
                return None
            if order.version not in self._settled:
                who, why, name = order.command.who, order.command.why, order.command.command_id
                return Canary(order.version, order.terms.role, order.terms.share, who, why, name)
        return self._by_setting()

    def objection(self, version: str) -> str | None:
        """Why the ledger does not let a version answer beside the champion; None if it does."""
        if self._champion is None:
            return "nothing was promoted yet, so there is no champion to answer beside"
        if version == self._champion:
            return f"version {version} is the champion"
        if (entry := self._settled.get(version)) is None:
            return None
        if entry.verdict is Verdict.REJECT:
            return f"version {version} was rejected by entry {entry.number} of the ledger: {'; '.join(entry.reasons)}"
        return f"version {version} was champion before; it comes back with 'tidemill rollback --to {version}'"

    def ended(self, canary: Canary) -> str:
        """Why this one is not wanted any more."""
        if entry := self._settled.get(canary.version):
            return f"version {canary.version} is settled: {entry.verdict.value} by entry {entry.number} of the ledger"
        order = self._order
        if order is not None and self._holds(order) and order.command.command_id != canary.order:
            return f"{order.command.who} ordered otherwise: {order.command.why}"
        if canary.order is not None:
            return f"the champion has changed with entry {self._moved} of the ledger"
        return "another challenger is newer, or the champion has changed"

    def _holds(self, order: _Order) -> bool:
        return order.terms.decision >= self._moved

    def _by_setting(self) -> Canary | None:
        newest = next(reversed(self._waiting), None)
        if newest is None:
            return None
        if self._settings.share:
            return Canary(newest, ServingRole.CANARY, self._settings.share)
        if self._settings.shadow_share:
            return Canary(newest, ServingRole.SHADOW, self._settings.shadow_share)
        return None


def objection_to_tags(version: str, tags: Mapping[str, str] | None, has_weights: bool) -> str | None:
    """Why a registered version cannot be loaded beside the champion; None if it can.

    Args: tags: None: there is no such version.
    """
    if tags is None:
        return f"version {version} is not in the registry"
    if not has_weights:
        return f"the weights of version {version} are deleted"
    try:
        Lineage.from_tags(tags)
    except ModelError as error:
        return f"version {version} is not complete: {error}"
    return None
