"""Deletes weights that are no longer needed; a store that cannot or will not is left alone."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from services.evaluator.retention import Settled, Version, expendable
from shared.errors import TidemillError

log = structlog.get_logger("housekeeping")


class Store(Protocol):
    """Where versions are kept."""

    def versions(self) -> Sequence[Version]:
        """All versions, the newest first."""

    def delete_weights(self, version: str) -> None:
        """Deletes a version's weights."""


class Housekeeping:
    """One version a step: the alias and the commands do not wait for a store."""

    def __init__(self, store: Store, keep: int) -> None:
        """Args: keep: newest versions that keep their weights."""
        self._store, self._keep = store, keep
        self._left: set[str] = set()

    def step(self, ledger: Settled) -> bool:
        """Deletes the oldest version's weights; False once nothing is left to do.

        A version whose weights cannot be deleted is passed over until a restart: no failure here is worth a stop.
        """
        try:
            versions = [
                version
                for version in expendable(self._store.versions(), ledger, self._keep)
                if version not in self._left
            ]
        except TidemillError as error:
            log.warning("not_tidied", error=str(error))
            return False
        if versions:
            self._delete(versions[-1])
        return bool(versions)

    def _delete(self, version: str) -> None:
        log.info("deleting_weights", version=version)
        try:
            self._store.delete_weights(version)
        except (TidemillError, NotImplementedError, OSError) as error:
            log.warning("weights_left", version=version, error=str(error) or type(error).__name__)
            self._left.add(version)
