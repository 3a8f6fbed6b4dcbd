"""What the API stands on."""

import threading
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry

from services.server.engine import Engine
from services.server.status import Status
from shared.health import Health
from shared.labels import Label
from shared.metrics import ServerMetrics
from shared.settings import Settings


class ReportsLabels(Protocol):
    """Takes true labels."""

    def report(self, prediction_id: str, label: Label) -> str:
        """Publishes one label and returns its class name."""


@dataclass(frozen=True)
class Parts:
    """What the API stands on."""

    settings: Settings
    engine: Engine
    feedback: ReportsLabels
    status: Status
    health: Health
    metrics: ServerMetrics
    registry: CollectorRegistry
    look: threading.Event
