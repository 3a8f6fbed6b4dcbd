"""Who is champion, whom it replaced, and from where on the stream's reviews are fresh to it. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.evaluator.exam import Model
from services.evaluator.ledger import Ledger
from shared.events import ClosedWindow, Decision, Verdict
from shared.metrics import Role

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reign:
    """One champion's time in service.

    Attributes:
        number: The ledger's entry that began it.
        contenders: The champion and whoever it is compared with; no version twice.
        after_offset: Position in `reviews.curated` up to which reviews were learned from, or helped to choose it.
        after: Broker time up to which reviews helped to choose it: those that spoke against the one rolled back.
    """

    number: int
    contenders: dict[Role, Model]
    after_offset: int
    after: datetime = _LONG_AGO

    @property
    def champion(self) -> Model:
        """The version in service."""
        return self.contenders[Role.CHAMPION]


class Succession:
    """Folds the ledger and the windows into the reign of now."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._crowned: tuple[Decision, datetime] | None = None
        self._ends: dict[str, int] = {}

    def enter(self, decision: Decision, published_at: datetime) -> None:
        """Takes the ledger's next entry with its broker time.

        Raises: LedgerCorruptError if it does not continue those before it.
        """
        self.ledger = self.ledger.after(decision)
        if decision.champion_after != decision.champion_before:
            self._crowned = (decision, published_at)

    def close(self, window: ClosedWindow) -> None:
        """Takes a closed window."""
        self._ends[window.window_id] = window.last_offset

    def reign(self) -> Reign | None:
        """None while there is no champion, or while the window that it was chosen on is not known."""
        if self._crowned is None:
            return None
        entry, published_at = self._crowned
        end = self._ends.get(self.ledger.promoted_with or "")
        contenders = self._contenders()
        if end is None or Role.CHAMPION not in contenders:
            return None
        chosen_at = published_at if entry.verdict is Verdict.ROLLBACK else _LONG_AGO
        return Reign(entry.number, contenders, end, chosen_at)

    def _contenders(self) -> dict[Role, Model]:
        """Whoever's files the ledger vouches for. A version that was deposed is no yardstick."""
        ledger, found = self.ledger, dict[Role, Model]()
        anchor = ledger.anchor if ledger.anchor in ledger.reign else None
        named = {Role.CHAMPION: ledger.champion, Role.PREVIOUS: ledger.previous_champion, Role.ANCHOR: anchor}
        for role, version in named.items():
            digest = ledger.digest_of(version) if version else None
            if version and digest and Model(version, digest) not in found.values():
                found[role] = Model(version, digest)
        return found
