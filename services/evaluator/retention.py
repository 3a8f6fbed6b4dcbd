"""Which versions' weights are no longer needed. Pure: looks at tags and ledger, deletes nothing."""

from collections.abc import Sequence
from typing import Protocol


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


class Settled(Protocol):
    """What retention must know of a ledger."""

    @property
    def settled_versions(self) -> frozenset[str]:
        """Versions that no further entry may be about."""

    @property
    def needed_versions(self) -> frozenset[str]:
        """Versions that are in use, or may be again."""


def expendable(newest_first: Sequence[Version], ledger: Settled, keep: int) -> list[str]:
    """Settled versions beyond the newest `keep` that still have weights and that nobody needs."""
    counting = [version for version in newest_first if not version.is_duplicate]
    return [
        version.version
        for version in counting[keep:]
        if version.has_weights and version.version in ledger.settled_versions - ledger.needed_versions
    ]
