"""Which versions' weights are no longer needed. Pure: looks at tags and ledger, deletes nothing."""

from collections.abc import Sequence
from typing import Protocol

from services.evaluator.ledger import Ledger


class Version(Protocol):
    """What retention must know of a registered version."""

    @property
    def version(self) -> str:
        """Its number."""

    @property
    def has_weights(self) -> bool:
        """Whether its weights are still there."""

    @property
    def is_duplicate(self) -> bool:
        """It shares its files with the version that counts."""


def expendable(newest_first: Sequence[Version], ledger: Ledger, keep: int) -> list[str]:
    """Settled versions beyond the newest `keep` that still have weights; never champion, the one before, or anchor."""
    counting = [version for version in newest_first if not version.is_duplicate]
    needed = {ledger.champion, ledger.previous_champion, ledger.anchor}
    return [
        version.version
        for version in counting[keep:]
        if version.has_weights and version.version in ledger.settled_versions - needed
    ]
