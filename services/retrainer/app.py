"""Wires the retrainer: closed windows in, one candidate a window out, each with its offset in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.retrainer.adaptation.agenda import Agenda
from services.retrainer.adaptation.order import AdaptationWorkshop
from services.retrainer.cycle import Cycle
from services.retrainer.history import History
from services.retrainer.machine import Machine, examine
from services.retrainer.orders import WindowOrder
from services.retrainer.rebuild import rebuild_of
from services.retrainer.runs import RunFolder, Runs
from services.retrainer.workshop import LocalWorkshop, RebuildWorkshop
from shared.envelope import decode, trace_parent
from shared.errors import UnreadableRecordError
from shared.events import (
    BaseCandidate,
    BaseDecision,
    Candidate,
    ClosedWindow,
    Command,
    Decision,
    Event,
    UnlabeledWindow,
)
from shared.kafka import (
    Follower,
    GroupConsumer,
    Record,
    TransactionalProducer,
    check_codecs,
    create_topics,
    from_beginning,
    next_offsets,
)
from shared.lag import LagReport
from shared.metrics import RetrainerMetrics
from shared.registry import Registry
from shared.service import Context
from shared.service import main as run_service
from shared.topics import (
    BASES_CANDIDATES,
    BASES_DECISIONS,
    CONTROL_COMMANDS,
    MODELS_CANDIDATES,
    MODELS_DECISIONS,
    WINDOWS_CLOSED,
    WINDOWS_UNLABELED,
)

log = structlog.get_logger("retrainer")
ROLE = "retrainer"
HISTORY_ROLE = "retrainer.history"
EVENTS: dict[str, type[Event]] = {
    WINDOWS_CLOSED.name: ClosedWindow,
    MODELS_CANDIDATES.name: Candidate,
    MODELS_DECISIONS.name: Decision,
    CONTROL_COMMANDS.name: Command,
    WINDOWS_UNLABELED.name: UnlabeledWindow,
    BASES_CANDIDATES.name: BaseCandidate,
    BASES_DECISIONS.name: BaseDecision,
}
FOLLOWED = (
    WINDOWS_CLOSED,
    MODELS_CANDIDATES,
    MODELS_DECISIONS,
    CONTROL_COMMANDS,
    WINDOWS_UNLABELED,
    BASES_CANDIDATES,
    BASES_DECISIONS,
)


WindowCycle = Cycle[RunFolder, Candidate]


@dataclass(frozen=True)
class Delivered:
    """A window that waits, with the record that brought it."""

    window: ClosedWindow
    record: Record


class Retrainer:
    """The service's loop. Only the member that owns the partition trains; others are standbys by Kafka's own rules."""

    def __init__(self, context: Context, machine: Machine) -> None:
        self._context, self._settings = context, context.settings
        self._metrics = RetrainerMetrics(context.registry)
        self._registry, self._machine = Registry(self._settings, context.stopping), machine
        self._bases = Registry(self._settings, context.stopping, model=self._settings.stream.registered_base)
        self._workshop = LocalWorkshop(self._settings, self._registry, self._bases, machine)
        self._agenda = Agenda(
            self._settings, AdaptationWorkshop(self._settings, self._bases, machine), self._metrics.adaptation
        )
        self._runs = Runs(self._settings.home, self._settings.stream, RunFolder)
        self._consumer = GroupConsumer(self._settings, ROLE, [WINDOWS_CLOSED], from_beginning)
        self._follower = Follower(self._settings, HISTORY_ROLE, FOLLOWED)
        self._producer: TransactionalProducer | None = None
        self._history = History()
        self._generation = self._consumer.generation
        self._waiting: dict[str, Delivered] = {}
        self._cycle: WindowCycle | None = None
        self._lag = LagReport(self._consumer, context.metrics.consumer_lag, self._settings.stream.identity(ROLE))

    def step(self) -> None:
        """Polls, then brings the window in hand one step further."""
        self._poll()
        self._follow()
        self._lag.update()
        if self._producer is None:
            if not self._consumer.assignment:
                return  # a standby
            self._producer = self._take_ownership()
        if self._cycle is None:
            self._cycle = self._next_rebuild() or self._next_cycle()
        if self._cycle is None:
            self._adapt(self._producer)
            return
        if not self._cycle.is_done:
            self._agenda.rest()
        if (candidate := self._cycle.advance()) is not None:
            self._publish(candidate, self._producer)

    def close(self) -> None:
        """Ends the job, whose checkpoint stays, and leaves the group."""
        self._give_up_ownership()
        self._follower.close()
        self._consumer.close()

    def _poll(self) -> None:
        if self._cycle is None:
            self._consumer.resume()
        else:
            self._consumer.pause()
        records = self._consumer.poll()
        if self._consumer.generation != self._generation:
            self._generation = self._consumer.generation
            # What waited is read again, from the committed position, by whoever has the partition now.
            self._waiting.clear()
            if not self._consumer.assignment:
                self._give_up_ownership()
        for record in records:
            if isinstance(window := self._readable(record), ClosedWindow):
                self._waiting[window.window_id] = Delivered(window, record)

    def _give_up_ownership(self) -> None:
        self._agenda.drop()
        if self._cycle is not None:
            self._cycle.stop()
            self._cycle = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    def _take_ownership(self) -> TransactionalProducer:
        # First the producer: it ends what a dead predecessor left open, so that the history after it is complete.
        producer = TransactionalProducer(self._settings, ROLE)
        self._catch_up()
        self._runs.drop_heavy_parts_of(self._history.covered())
        self._agenda.tidy(self._history.bases.covered())
        return producer

    def _catch_up(self) -> None:
        for record in self._follower.catch_up():
            self._remember(record)

    def _follow(self) -> None:
        for record in self._follower.poll():
            self._remember(record)

    def _remember(self, record: Record) -> None:
        if (event := self._readable(record)) is not None:
            self._history.observe(event)

    def _readable(self, record: Record) -> Event | None:
        """Only our own services write these topics, but one stray record must not stop all learning."""
        name = record.topic.removeprefix(f"{self._settings.stream.prefix}.")
        try:
            return decode(EVENTS[name], record.value, record.where())
        except UnreadableRecordError as error:
            log.error("record_passed_over", error=str(error))
            return None

    def _next_rebuild(self) -> WindowCycle | None:
        """Orders to rebuild go first: while a poisoned champion serves, every window waits in its shadow."""
        order = self._history.next_rebuild()
        if order is None:
            return None
        # Topics are followed side by side: what the order is about may have been read less far than the order itself.
        self._catch_up()
        rebuild = rebuild_of(order, self._history)
        workshop = RebuildWorkshop(self._settings, self._registry, self._bases, self._machine, rebuild)
        log.info("rebuild_taken", rebuild=rebuild.name, version=rebuild.version, without=rebuild.without, who=order.who)
        training = self._settings.training
        return self._cycle_of(WindowOrder(rebuild.windows, self._history, workshop, training, rebuild))

    def _next_cycle(self) -> WindowCycle | None:
        """Takes what waits first: windows with a plan as planned, else one, or all if the backlog is merged."""
        self._pass_over_covered()
        windows = self._next_windows() if self._waiting else []
        if not windows:
            return None
        for window in windows:
            self._history.observe(window)  # the follower may be a moment behind
        cycle = self._cycle_of(WindowOrder(windows, self._history, self._workshop, self._settings.training))
        log.info("window_taken", window_ids=[window.window_id for window in windows], phase=cycle.phase)
        return cycle

    def _cycle_of(self, order: WindowOrder) -> WindowCycle:
        return Cycle(order, self._settings.training, self._metrics.training)

    def _pass_over_covered(self) -> None:
        covered = [window_id for window_id in self._waiting if self._history.is_covered(window_id)]
        if covered:
            self._consumer.commit(next_offsets(self._waiting.pop(window_id).record for window_id in covered))
            log.info("windows_passed_over", window_ids=covered, reason="they have their candidate")

    def _next_windows(self) -> list[ClosedWindow]:
        windows = [delivered.window for delivered in self._waiting.values()]
        run = self._runs.planned_with(windows[0])
        plan = run.plan() if run else None
        if plan is not None:
            planned = [window for window in windows if window.window_id in plan.window_ids]
            return planned if len(planned) == len(plan.windows) else []  # the rest is still to be delivered
        return backlog(windows, self._settings.training.backlog == "merge")

    def _publish(self, candidate: Candidate, producer: TransactionalProducer) -> None:
        """Candidate and positions become visible together."""
        taken = [self._waiting[window_id].record for window_id in candidate.window_ids if window_id in self._waiting]
        trace = trace_parent(taken[-1].headers) if taken else None
        with producer.transaction(self._consumer) as transaction:
            transaction.send(MODELS_CANDIDATES, candidate.window_id, candidate, trace)
            transaction.send_offsets(next_offsets(taken))
        self._history.observe(candidate)
        self._metrics.candidates.labels(candidate.status.value).inc()
        self._runs.folder(candidate.window_id).drop_heavy_parts()
        for window_id in candidate.window_ids:
            self._waiting.pop(window_id, None)
        self._cycle = None
        said = {"status": candidate.status.value, "version": candidate.version, "reason": candidate.reason}
        log.info("candidate", window_id=candidate.window_id, **said)

    def _adapt(self, producer: TransactionalProducer) -> None:
        """Adapts the base while nothing else is to be done."""
        candidate = self._agenda.advance(self._history, self._nothing_waits)
        if candidate is None:
            return
        newest = self._history.bases.windows[candidate.window_id]
        with producer.transaction() as transaction:
            transaction.send(BASES_CANDIDATES, candidate.window_id, candidate, newest.trace_parent)
        self._history.observe(candidate)
        self._metrics.base_candidates.labels(candidate.status.value).inc()
        self._agenda.drop()
        self._agenda.tidy(frozenset({candidate.window_id}))
        said = {"status": candidate.status.value, "version": candidate.version, "reason": candidate.reason}
        log.info("base_candidate", window_id=candidate.window_id, **said)

    def _nothing_waits(self) -> bool:
        # Windows behind the one just learned are in Kafka still: the consumer was paused meanwhile.
        return not any(self._consumer.lag().values())


def backlog(windows: Sequence[ClosedWindow], merge: bool) -> list[ClosedWindow]:
    """What to take next of the waiting windows, oldest first: one; merged: all up to one that is not trainable."""
    if not merge or not windows[0].trainable:
        return list(windows[:1])
    taken: list[ClosedWindow] = []
    for window in windows:
        if not window.trainable:
            break
        taken.append(window)
    return taken


def build(context: Context) -> Retrainer:
    """Connects to everything. Whatever is not there yet raises a RetryableError, and is tried again."""
    check_codecs()
    create_topics(context.settings)
    return Retrainer(context, examine(context.settings))


def main() -> None:
    """Runs the service."""
    run_service(ROLE, {ROLE: build})
