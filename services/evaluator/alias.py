"""The aliases in MLflow, which follow the ledger and nothing else: `champion`, and `challenger` for people to see."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from shared.events import Decision
from shared.metrics import EvaluatorMetrics
from shared.mlflow_calls import MissingError

log = structlog.get_logger("alias")


class Aliases(Protocol):
    """Where the alias is kept."""

    def champion(self) -> str | None:
        """The version that it names."""

    def set_champion(self, version: str) -> None:
        """Moves it; MissingError if there is no such version."""

    def clear_champion(self) -> None:
        """Removes it."""

    def show_challenger(self, version: str | None) -> None:
        """Makes the alias `challenger` name a version, or nothing."""


def assert_alias(aliases: Aliases, champion: str | None, metrics: EvaluatorMetrics) -> None:
    """Makes the alias name the ledger's champion, or nothing while there is none.

    A champion that somebody deleted from MLflow is only complained of: a rollback must still be heard.
    """
    found = aliases.champion()
    if found == champion:
        return
    _count_repair(found, champion, metrics)
    if champion is None:
        aliases.clear_champion()
        return
    try:
        aliases.set_champion(champion)
    except MissingError as error:
        log.error("champion_is_gone", champion=champion, error=str(error), remedy="roll back to another version")


def move_alias(aliases: Aliases, decision: Decision, metrics: EvaluatorMetrics) -> None:
    """Moves the alias to a decision's new champion; a repetition finds it there.

    A stranger's value in between is counted, but not put right first: the old champion's version may be gone.
    """
    found = aliases.champion()
    if decision.champion_after is None or found == decision.champion_after:
        return
    if found != decision.champion_before:
        _count_repair(found, decision.champion_before, metrics)
    aliases.set_champion(decision.champion_after)


def show_challenger(aliases: Aliases, waiting: Sequence[str]) -> None:
    """Makes the alias `challenger` name the newest undecided version; nothing depends on it."""
    newest = waiting[-1] if waiting else None
    try:
        aliases.show_challenger(newest)
    except MissingError as error:
        log.warning("challenger_not_shown", version=newest, error=str(error))


def _count_repair(found: str | None, ledger: str | None, metrics: EvaluatorMetrics) -> None:
    log.warning("alias_repaired", found=found, ledger=ledger)
    metrics.alias_repairs.inc()
