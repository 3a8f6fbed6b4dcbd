"""Deletes snapshots that no manifest names: what a windower left that was killed between archive and transaction."""

import time

import structlog

from shared.archive import Archive
from shared.envelope import decode
from shared.events import ClosedWindow
from shared.kafka import iterate_topic
from shared.service import Context
from shared.topics import WINDOWS_CLOSED

log = structlog.get_logger("sweep")

PERIOD_SECONDS = 3600.0
PULSE_SECONDS = 1.0


class SweepLoop:
    """Sweeps the archive at start, then once an hour."""

    def __init__(self, context: Context) -> None:
        self._settings, self._stopping = context.settings, context.stopping
        self._archive = Archive(context.settings)
        self._due = 0.0

    def step(self) -> None:
        """Waits a moment, or sweeps."""
        if time.monotonic() < self._due:
            self._stopping.wait(PULSE_SECONDS)
            return
        for path in self._archive.sweep(self._known(), self._settings.archive.orphan_seconds):
            log.info("orphan_deleted", path=path)
        self._due = time.monotonic() + PERIOD_SECONDS

    def _known(self) -> set[str]:
        records = iterate_topic(self._settings, "ingestor.sweep", WINDOWS_CLOSED)
        return {decode(ClosedWindow, record.value, record.where()).snapshot.path for record in records}

    def close(self) -> None:
        """Holds nothing open."""
