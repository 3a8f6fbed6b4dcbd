"""Deletes snapshots that no manifest names: what a windower left that was killed between archive and transaction."""

import time

import structlog

from services.ingestor.beginnings import read_manifest
from services.ingestor.kinds import KINDS
from shared.archive import Archive
from shared.kafka import iterate_topic
from shared.service import Context
from shared.settings import Settings

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
        for path in self._archive.sweep(known_paths(self._settings), self._settings.archive.orphan_seconds):
            log.info("orphan_deleted", path=path)
        self._due = time.monotonic() + PERIOD_SECONDS

    def close(self) -> None:
        """Holds nothing open."""


def known_paths(settings: Settings) -> set[str]:
    """The snapshots that manifests of either kind name; none if a record cannot be read, since it may name any."""
    paths = set[str]()
    for kind in KINDS:
        for record in iterate_topic(settings, "ingestor.sweep", kind.manifests):
            if (manifest := read_manifest(record, kind)) is None:
                return set()
            paths.add(manifest.snapshot.path)
    return paths
