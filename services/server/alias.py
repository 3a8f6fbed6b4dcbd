"""The registry's champion, as far as it can be believed where the ledger cannot be read."""

from typing import Protocol

import structlog

from shared.events import Verdict
from shared.registry import ModelVersion

log = structlog.get_logger("alias")
VERDICT_TAG = "tidemill.verdict"  # the evaluator writes it before it moves the alias


class Versions(Protocol):
    """What the registry says."""

    def champion(self) -> str | None:
        """The version that the alias names."""

    def version(self, version: str) -> ModelVersion | None:
        """One version, or None if there is no such version."""


def promoted_alias(registry: Versions) -> str | None:
    """The version that the alias names if the evaluator ever promoted it; anybody can move an alias.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    if (named := registry.champion()) is None:
        return None
    found = registry.version(named)
    if found is not None and found.tags.get(VERDICT_TAG) == Verdict.PROMOTE.value:
        return named
    log.warning("alias_not_believed", version=named, reason="the evaluator has not promoted it")
    return None
