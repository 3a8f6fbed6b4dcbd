"""Deletes what decided bases were compared with, then old bases' weights. A store that will not is left alone."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.housekeeping import Housekeeping
from services.evaluator.retention import Version
from shared.errors import TidemillError
from shared.exam import EXAM_FOLDER
from shared.registry import DELETED

log = structlog.get_logger("housekeeping")

EXAM_TAG = "tidemill.exam"


class BaseVersion(Version, Protocol):
    """What must be known of a registered base."""

    @property
    def run_id(self) -> str | None:
        """Its run."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""


class Store(Protocol):
    """Where bases are kept."""

    def versions(self) -> Sequence[BaseVersion]:
        """All versions, the newest first."""

    def delete_weights(self, version: str) -> None:
        """Deletes a version's weights."""

    def delete_folder(self, run_id: str, name: str) -> None:
        """Deletes a folder of a run."""

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Tags a version."""


class BaseHousekeeping:
    """One deletion a step. What a crash left over is found by the versions' tags."""

    def __init__(self, store: Store, keep: int) -> None:
        """Args: keep: newest versions that keep their weights."""
        self._store, self._weights = store, Housekeeping(store, keep)
        self._left: set[str] = set()

    def step(self, ledger: BaseLedger) -> bool:
        """Deletes one thing; False once nothing is left to do."""
        return self._drop_exam(ledger) or self._weights.step(ledger)

    def _drop_exam(self, ledger: BaseLedger) -> bool:
        try:
            found = next((version for version in self._store.versions() if self._is_left_over(version, ledger)), None)
        except TidemillError as error:
            log.warning("not_tidied", error=str(error))
            return False
        if found is not None:
            self._delete(found)
        return found is not None

    def _is_left_over(self, version: BaseVersion, ledger: BaseLedger) -> bool:
        settled = version.version in ledger.settled_versions and version.version not in self._left
        return settled and version.run_id is not None and version.tags.get(EXAM_TAG) != DELETED

    def _delete(self, version: BaseVersion) -> None:
        try:
            self._store.delete_folder(str(version.run_id), EXAM_FOLDER)
            self._store.set_tags(version.version, {EXAM_TAG: DELETED})
        except (TidemillError, NotImplementedError, OSError) as error:
            # Passed over until a restart: no failure here is worth a stop.
            log.warning("exam_left", version=version.version, error=str(error) or type(error).__name__)
            self._left.add(version.version)
