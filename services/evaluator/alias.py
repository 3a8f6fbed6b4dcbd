"""The aliases in MLflow, which follow the ledgers and nothing else: who is in service, and who waits, to be seen."""

from collections.abc import Sequence
from typing import Protocol

import structlog
from prometheus_client import Counter

from shared.mlflow_calls import MissingError
from shared.registry import CHALLENGER

log = structlog.get_logger("alias")


class Aliases(Protocol):
    """Where the aliases of a registered model are kept."""

    def aliased(self, alias: str) -> str | None:
        """The version that an alias names."""

    def set_alias(self, alias: str, version: str) -> None:
        """Moves it; MissingError if there is no such version."""

    def clear_alias(self, alias: str) -> None:
        """Removes it."""


def assert_alias(aliases: Aliases, alias: str, version: str | None, repairs: Counter) -> None:
    """Makes an alias name the version that the ledger says, or nothing while there is none.

    A version that somebody deleted from MLflow is only complained of: a rollback must still be heard.
    """
    found = aliases.aliased(alias)
    if found == version:
        return
    _count_repair(alias, found, version, repairs)
    if version is None:
        aliases.clear_alias(alias)
        return
    try:
        aliases.set_alias(alias, version)
    except MissingError as error:
        remedy = "restore it in MLflow; from a champion, roll back to another version"
        log.error("aliased_version_is_gone", alias=alias, version=version, error=str(error), remedy=remedy)


def move_alias(aliases: Aliases, alias: str, before: str | None, after: str | None, repairs: Counter) -> None:
    """Moves an alias as a decision says; a repetition finds it there.

    A stranger's value in between is counted, but not put right first: the version of before may be gone.
    """
    found = aliases.aliased(alias)
    if after is None or found == after:
        return
    if found != before:
        _count_repair(alias, found, before, repairs)
    aliases.set_alias(alias, after)


def show_challenger(aliases: Aliases, waiting: Sequence[str]) -> None:
    """Makes the alias `challenger` name the newest undecided version; nothing depends on it."""
    newest = waiting[-1] if waiting else None
    if aliases.aliased(CHALLENGER) == newest:
        return
    if newest is None:
        aliases.clear_alias(CHALLENGER)
        return
    try:
        aliases.set_alias(CHALLENGER, newest)
    except MissingError as error:
        log.warning("challenger_not_shown", version=newest, error=str(error))


def _count_repair(alias: str, found: str | None, ledger: str | None, repairs: Counter) -> None:
    log.warning("alias_repaired", alias=alias, found=found, ledger=ledger)
    repairs.inc()
