"""Reads what replicas have counted, if the gate asks for it."""

from collections.abc import Mapping

import structlog

from services.evaluator.inbox import read_event
from services.evaluator.serving import Serving, served
from shared.errors import TidemillError
from shared.events import CanaryCounts
from shared.gate_settings import GateSettings, ServingTermSettings
from shared.kafka import read_topic
from shared.settings import Settings
from shared.topics import CANARIES_COUNTS

log = structlog.get_logger("serving")
ROLE = "evaluator.serving"


class ServedCounts:
    """The counts of challengers beside a champion, as they stand."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def beside(self, champion: str | None) -> Mapping[str, Serving]:
        """Version -> its sums; nothing where no term asks. What cannot be read is missing, which never passes."""
        if champion is None or not _is_asked(self._settings.evaluator.gate):
            return {}
        try:
            records = read_topic(self._settings, ROLE, CANARIES_COUNTS)
        except TidemillError as error:
            log.warning("counts_not_read", error=str(error))
            return {}
        reports = (read_event(CanaryCounts, record) for record in records)
        return served((report for report in reports if report is not None), champion)


def _is_asked(gate: GateSettings) -> bool:
    return any(isinstance(term, ServingTermSettings) for term in gate.terms)
