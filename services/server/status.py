"""What this replica is doing about its model, for metrics, health, logs and the topic `servers.state`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from services.server.card import Card
from services.server.plan_report import PlanReport
from shared.events import CanaryState, ServerPhase, ServerState, utc_now
from shared.health import Health
from shared.metrics import Dependency, ServerMetrics

log = structlog.get_logger("status")
NO_MODEL = "no model has been promoted yet"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment. `serving` is what answers; `target` is what is being taken over, or failed to be.

    `plan` is how it answers, `plans` what was found out about others; None: nothing yet.
    """

    phase: ServerPhase = ServerPhase.WAITING
    reason: str | None = None
    serving: Card | None = None
    plan: str | None = None
    plans: PlanReport | None = None
    target: str | None = None
    canary: CanaryState | None = None
    kafka_trouble: str | None = "not asked yet"
    registry_trouble: str | None = "not asked yet"


class Status:
    """One owner of the state; any thread may change or read it."""

    def __init__(
        self,
        replica_id: str,
        url: str | None,
        metrics: ServerMetrics,
        health: Health,
        announce: Callable[[ServerState], None],
    ) -> None:
        self._replica_id, self._url, self._announce = replica_id, url, announce
        self._metrics, self._health, self._lock = metrics, health, threading.Lock()
        self._now = Snapshot()
        health.not_ready("model", NO_MODEL)
        metrics.phase.labels(ServerPhase.WAITING.value).set(1)

    @property
    def now(self) -> Snapshot:
        """The state, whole."""
        return self._now

    def enter(self, phase: ServerPhase, target: str | None = None, reason: str | None = None) -> None:
        """Goes on to a phase and says so."""
        with self._lock:
            before = self._now.phase
            if (before, self._now.target, self._now.reason) == (phase, target, reason):
                return
            self._now = replace(self._now, phase=phase, target=target, reason=reason)
            self._metrics.phase.labels(before.value).set(0)
            self._metrics.phase.labels(phase.value).set(1)
        log.info("phase", phase=phase.value, target=target, reason=reason)
        self.announce()

    def serves(self, card: Card, plan: str) -> None:
        """From now on this model answers, by this plan."""
        with self._lock:
            self._now = replace(self._now, serving=card, plan=plan, plans=None)
            self._metrics.plan.clear()
            self._metrics.plan.labels(plan).set(1)
        self._metrics.served_version.set(version_number(card.version))
        self._health.ready("model")

    def beside(self, canary: CanaryState | None) -> None:
        """This is what happens to the challenger beside it; None: there is none."""
        with self._lock:
            if self._now.canary == canary:
                return
            self._now = replace(self._now, canary=canary)
        log.info("canary", **(canary.model_dump(mode="json") if canary else {"version": None}))
        self.announce()

    def planned(self, card: Card, report: PlanReport) -> None:
        """What was found out about the plans of a model, if it still serves."""
        with self._lock:
            if self._now.serving == card:
                self._now = replace(self._now, plans=report)
        self.announce()

    def reaches(self, kafka_trouble: str | None, registry_trouble: str | None) -> None:
        """What kept Kafka and MLflow from answering just now; None: they did."""
        with self._lock:
            before = self._now
            self._now = replace(before, kafka_trouble=kafka_trouble, registry_trouble=registry_trouble)
        for name, was, trouble in (
            (Dependency.KAFKA.value, before.kafka_trouble, kafka_trouble),
            (Dependency.REGISTRY.value, before.registry_trouble, registry_trouble),
        ):
            self._metrics.reachable.labels(name).set(trouble is None)
            if (was is None) != (trouble is None):
                log.info("reachable" if trouble is None else "unreachable", what=name, reason=trouble)

    def announce(self) -> None:
        """Publishes the state; repeated now and then, so that one lost in an outage is made good."""
        now = self._now
        self._announce(
            ServerState(
                replica_id=self._replica_id,
                version=now.serving.version if now.serving else None,
                plan=now.plan,
                phase=now.phase,
                reason=now.reason,
                url=self._url,
                canary=now.canary,
                at=utc_now(),
            )
        )


def version_number(version: str) -> float:
    """MLflow's versions are whole numbers; any other name still shows that something serves."""
    return float(version) if version.isdecimal() else -1.0
