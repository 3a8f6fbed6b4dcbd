"""Which model should answer: what the ledger says, and what to believe when the ledger cannot be read."""

from dataclasses import dataclass
from datetime import datetime

from services.server.card import Card
from shared.canary import MOVES_THE_CHAMPION
from shared.events import Decision


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that should answer. `digest` None: only the registry's tags say which files it has."""

    version: str
    digest: str | None = None
    promoted_at: datetime | None = None
    decision: int | None = None

    def is_the(self, card: Card) -> bool:
        """Whether the card is this champion's, as far as its files are known."""
        return self.version == card.version and self.digest in (None, card.digest)


class ChampionFold:
    """The ledger's champion, entry by entry. An entry that was seen already changes nothing."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._number = 0
        self.champion: Champion | None = None

    def add(self, decision: Decision) -> None:
        """Takes the next entry."""
        if decision.number <= self._number:
            return
        self._number = decision.number
        if decision.version is not None and decision.model_digest is not None:
            self._digests[decision.version] = decision.model_digest
        if decision.verdict in MOVES_THE_CHAMPION and decision.champion_after is not None:
            version = decision.champion_after
            self.champion = Champion(version, self._digests.get(version), decision.decided_at, decision.number)


def wanted(ledger: Champion | None, ledger_is_current: bool, alias: str | None) -> Champion | None:
    """Whom to serve: the ledger's champion, also if that is nobody; where the ledger cannot be read, the registry's.

    Args:
        ledger: As last read.
        ledger_is_current: Kafka answered just now.
        alias: The promoted version that the registry names; None if it names none or does not answer.
    """
    if ledger_is_current or alias is None:
        return ledger
    return ledger if ledger is not None and ledger.version == alias else Champion(alias)
