"""Pages of rollbacks. They are written once the ledger has its entry, so that no rollback ever waits for a page."""

import sqlite3
import time
from pathlib import Path

import structlog

from services.evaluator import bets
from services.evaluator.bets import Bet
from services.evaluator.ledger import Ledger
from services.evaluator.page import document
from services.evaluator.page.reversal import Reversal
from shared.errors import RetryableError, TidemillError
from shared.events import Decision
from shared.registry import Registry, rollback_page

log = structlog.get_logger("papers")

# Of older ones a start does not ask any more whether they have their pages.
MOST = 10
PAUSE_SECONDS = 30.0


class RollbackPages:
    """One page a step, in the runs of both versions. What a killed process left unwritten, the next one writes."""

    def __init__(self, registry: Registry, notebook: Path) -> None:
        """Args: notebook: the monitor's file; it may be elsewhere, then the pages show what the ledger holds."""
        self._registry, self._notebook = registry, notebook
        self._done: set[int] = set()
        self._not_before = 0.0

    def is_due(self, ledger: Ledger) -> bool:
        """Whether there may be one to write, and it is time to try."""
        return bool(self._missing(ledger)) and time.monotonic() >= self._not_before

    def step(self, ledger: Ledger) -> None:
        """Writes the page of the latest rollback that has none. Raises nothing but a stop: pages are for people."""
        entry = self._missing(ledger)[-1]
        try:
            self._write(entry, ledger)
        except RetryableError as error:
            log.warning("page_put_off", number=entry.number, error=str(error))
            self._not_before = time.monotonic() + PAUSE_SECONDS
            return
        except TidemillError as error:
            log.error("no_page", number=entry.number, error=str(error))
        self._done.add(entry.number)

    def _missing(self, ledger: Ledger) -> list[Decision]:
        return [entry for entry in ledger.rollbacks[-MOST:] if entry.number not in self._done]

    def _write(self, entry: Decision, ledger: Ledger) -> None:
        name, runs = rollback_page(entry.number), self._runs(entry, ledger)
        # Where the last of them is, the others are.
        if not runs or self._registry.run_file(runs[-1], name) is not None:
            return
        if (page := self._page(entry, ledger)) is not None:
            for run_id in runs:
                self._registry.log_text(run_id, page, name)
            log.info("page_written", number=entry.number, page=name)

    def _runs(self, entry: Decision, ledger: Ledger) -> list[str]:
        promotions = (ledger.promotions.get(str(version)) for version in (entry.version, entry.champion_before))
        return [promotion.run_id for promotion in promotions if promotion is not None and promotion.run_id is not None]

    def _page(self, entry: Decision, ledger: Ledger) -> str | None:
        versions = (str(entry.champion_before), str(entry.version))
        links = {f"version {version} in MLflow": self._registry.version_url(version) for version in versions}
        try:
            moves = ledger.moves_until(entry)
            return document.rollback_page(Reversal(entry, moves, self._bets(moves), links))
        except Exception:
            log.exception("no_page", number=entry.number)
            return None

    def _bets(self, moves: tuple[Decision, ...]) -> tuple[Bet, ...]:
        began, entry = moves[-2:]
        try:
            return bets.read(self._notebook, began.number, str(entry.version))
        except sqlite3.Error as error:
            log.info("page_without_bets", number=entry.number, error=str(error))
            return ()
