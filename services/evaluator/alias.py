"""The alias `champion` in MLflow, which follows the ledger and nothing else."""

from typing import Protocol

import structlog

from shared.events import Decision
from shared.metrics import EvaluatorMetrics

log = structlog.get_logger("alias")


class Aliases(Protocol):
    """Where the alias is kept."""

    def champion(self) -> str | None:
        """The version that it names."""

    def set_champion(self, version: str) -> None:
        """Moves it."""

    def clear_champion(self) -> None:
        """Removes it."""


def assert_alias(aliases: Aliases, champion: str | None, metrics: EvaluatorMetrics) -> None:
    """Makes the alias name the ledger's champion, or nothing while there is none."""
    found = aliases.champion()
    if found == champion:
        return
    log.warning("alias_repaired", found=found, ledger=champion)
    metrics.alias_repairs.inc()
    if champion is None:
        aliases.clear_champion()
    else:
        aliases.set_champion(champion)


def move_alias(aliases: Aliases, decision: Decision, metrics: EvaluatorMetrics) -> None:
    """Moves the alias from a decision's old champion to its new one; a repetition finds it there.

    A stranger's value in between is put right first, so that it is counted and the move starts from the ledger.
    """
    if decision.champion_after is None or aliases.champion() == decision.champion_after:
        return
    assert_alias(aliases, decision.champion_before, metrics)
    aliases.set_champion(decision.champion_after)
