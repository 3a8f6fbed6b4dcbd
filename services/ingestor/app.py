"""The ingestor's process: curator and windowers, or one part of it, wired to Kafka and the archive."""

import argparse
import gc
import threading
from collections.abc import Mapping, Sequence
from enum import StrEnum

from services.ingestor.curating import CuratorLoop
from services.ingestor.kinds import LABELED, UNLABELED
from services.ingestor.sweeping import SweepLoop
from services.ingestor.windowing import labeled_windower, unlabeled_windower
from shared import service
from shared.kafka import check_codecs, create_topics
from shared.metrics import IngestorMetrics
from shared.service import Build, Context, Loop

NAME = "ingestor"
YOUNG_OBJECTS = 100_000


class Role(StrEnum):
    """What a process does."""

    CURATOR = "curator"
    WINDOWER = "windower"


class Ingestor:
    """Builds the loops of one process. They share their metrics, and each makes sure that the topics are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._metrics: IngestorMetrics | None = None

    def builds(self, roles: Sequence[Role]) -> Mapping[str, Build]:
        """The loops by name."""
        curator: dict[str, Build] = {"curator": self._curator}
        windower: dict[str, Build] = {
            LABELED.role: self._labeled_windower,
            UNLABELED.role: self._unlabeled_windower,
            "sweep": self._sweep,
        }
        return (curator if Role.CURATOR in roles else {}) | (windower if Role.WINDOWER in roles else {})

    def _curator(self, context: Context) -> Loop:
        return CuratorLoop(context, self._prepared(context))

    def _labeled_windower(self, context: Context) -> Loop:
        return labeled_windower(context, self._prepared(context))

    def _unlabeled_windower(self, context: Context) -> Loop:
        return unlabeled_windower(context, self._prepared(context))

    def _sweep(self, context: Context) -> Loop:
        self._prepared(context)
        return SweepLoop(context)

    def _prepared(self, context: Context) -> IngestorMetrics:
        check_codecs()
        create_topics(context.settings)
        with self._lock:
            self._metrics = self._metrics or IngestorMetrics(context.registry)
            return self._metrics


def collect_less_garbage() -> None:
    """Lets Python look for cycles rarely: a poll makes some hundred thousand objects, and none of them is in one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def main() -> None:
    """Runs the service until a signal or a fatal error."""
    parser = argparse.ArgumentParser(prog="python -m services.ingestor", description=__doc__)
    parser.add_argument("--role", type=Role, choices=list(Role), help="run this part only; default: both")
    role = parser.parse_args().role
    collect_less_garbage()
    service.main(NAME, Ingestor().builds([role] if role else list(Role)))
