"""Wires the evaluator together: candidates and commands in, decisions out, the alias in MLflow true to the ledger.

Nothing waits for long: models are scored in another process while the loop goes on polling, so that an operator's
rollback is heard at once. One evaluator a stream: a second one fences the first.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from typing import TypeVar

import structlog

from services.evaluator import monitor
from services.evaluator.alias import assert_alias, move_alias, show_challenger
from services.evaluator.bases import loop as bases
from services.evaluator.exam import Exam, Measured
from services.evaluator.housekeeping import Housekeeping
from services.evaluator.inbox import Inbox, read_event
from services.evaluator.launcher import Scoring, ScoringProcess, score_models
from services.evaluator.ledger import Ledger
from services.evaluator.notebook import NOTEBOOK_FILE
from services.evaluator.rollback_pages import RollbackPages
from services.evaluator.served_counts import ServedCounts
from services.evaluator.shadow import watch_folder
from services.evaluator.trial import Desk, Stage, Trial
from services.evaluator.verdicts import objection, refused, rollback_target, rolled_back
from services.evaluator.windows import WindowBook
from shared.archive import Archive
from shared.envelope import decode, trace_parent
from shared.errors import LedgerCorruptError, UnreadableRecordError
from shared.events import Candidate, Command, CommandKind, Decision, Verdict, utc_now
from shared.kafka import (
    Follower,
    GroupConsumer,
    Record,
    TransactionalProducer,
    check_codecs,
    create_topics,
    from_beginning,
    next_offsets,
    read_topic,
)
from shared.lag import LagReport
from shared.metrics import EvaluatorMetrics
from shared.registry import CHAMPION, Registry
from shared.retry import Backoff
from shared.service import Context, Loop
from shared.service import main as run_service
from shared.settings import Settings
from shared.topics import CONTROL_COMMANDS, MODELS_CANDIDATES, MODELS_DECISIONS, WINDOWS_CLOSED

log = structlog.get_logger("evaluator")

Client = TypeVar("Client", TransactionalProducer, Follower)

NAME = ROLE = "evaluator"


class Evaluator:
    """The loop. Its state is the ledger and what was read but is not yet in it."""

    def __init__(
        self,
        context: Context,
        ledger: Ledger,
        registry: Registry,
        producer: TransactionalProducer,
        consumer: GroupConsumer,
        manifests: Follower,
        launch: Callable[[Exam], Scoring[Measured]],
    ) -> None:
        """Args: ledger: read after the producer was opened, so that no predecessor can still add to it."""
        self._settings, self._ledger = context.settings, ledger
        self._registry, self._producer, self._consumer, self._manifests = registry, producer, consumer, manifests
        self._metrics = EvaluatorMetrics(context.registry)
        self._desk = Desk(
            settings=context.settings.evaluator,
            registry=registry,
            windows=WindowBook(manifests, Archive(context.settings)),
            launch=launch,
            serving=ServedCounts(context.settings).beside,
            metrics=self._metrics,
            backoff=Backoff(context.stopping),
            now=utc_now,
        )
        self._housekeeping = Housekeeping(registry, context.settings.registry.keep_versions)
        self._rollback_pages = RollbackPages(registry, watch_folder(context.settings) / NOTEBOOK_FILE)
        self._inbox = Inbox(consumer)
        prefix = context.settings.stream.prefix
        self._candidates, self._commands = (topic.full_name(prefix) for topic in (MODELS_CANDIDATES, CONTROL_COMMANDS))
        self._trial: Trial | None = None
        self._arrived = time.monotonic()
        self._tidy = False
        self._alias_due = 0.0
        self._lag = LagReport(consumer, context.metrics.consumer_lag, context.settings.stream.identity(ROLE))
        self._show_champion()
        log.info("ledger_read", number=ledger.number, champion=ledger.champion)

    def step(self) -> None:
        """One poll and one bounded piece of work; commands go first."""
        if not self._inbox.read():
            self._drop_trial()
        command, candidate = self._inbox.first(self._commands), self._inbox.first(self._candidates)
        if command and (self._trial is None or self._trial.is_open):
            self._obey(command)
        elif self._rollback_pages.is_due(self._ledger):
            self._rollback_pages.step(self._ledger)
        elif candidate:
            self._judge(candidate)
        elif self._tidy:
            self._tidy = self._housekeeping.step(self._ledger)
        self._watch()

    def close(self) -> None:
        """Ends what is under way; a restart takes it up again."""
        self._drop_trial()
        self._consumer.close()
        self._manifests.close()
        self._producer.close()

    def _drop_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None

    # Candidates

    def _judge(self, record: Record) -> None:
        if self._trial is None:
            candidate = read_event(Candidate, record)
            if candidate is None:
                self._pass_over(record)
                return
            self._trial, self._arrived = Trial(self._desk, candidate, self._ledger), time.monotonic()
        if not self._trial.advance():
            return
        if self._trial.decisions:
            self._enter(self._trial.decisions, record)
            self._metrics.scoring_seconds.observe(time.monotonic() - self._arrived)
        else:
            self._pass_over(record)
        self._drop_trial()

    # Commands

    def _obey(self, record: Record) -> None:
        command = read_event(Command, record)
        if command is not None:
            self._ledger = self._ledger.heeding(command)
        if command is None or command.kind is not CommandKind.ROLLBACK or self._answered(command):
            self._pass_over(record)
            return
        decisions = self._rollback(command)
        if decisions[0].verdict is Verdict.ROLLBACK:
            target = decisions[0].champion_after
            move_alias(self._registry, CHAMPION, self._ledger.champion, target, self._metrics.alias_repairs)
        self._enter(decisions, record)
        # Whatever is on trial was compared with the champion of before.
        self._drop_trial()

    def _answered(self, command: Command) -> bool:
        return command.command_id in self._ledger.answered_commands

    def _rollback(self, command: Command) -> tuple[Decision, ...]:
        watch_per_day = self._settings.evaluator.monitor.rollbacks_per_day
        if reason := objection(self._ledger, command, watch_per_day, utc_now()):
            return (refused(self._ledger, command, reason, utc_now()),)
        target = rollback_target(self._ledger, command)
        if target is None:
            wanted = command.target or "the version before"
            return (refused(self._ledger, command, f"{wanted} was no champion before this one", utc_now()),)
        version = self._registry.version(target)
        if version is None or not version.has_weights:
            return (refused(self._ledger, command, f"the weights of version {target} are gone", utc_now()),)
        return rolled_back(self._ledger, command, target, utc_now())

    # The ledger

    def _enter(self, decisions: Sequence[Decision], record: Record) -> None:
        """Adds the entries of one sitting and moves the input's position, all or nothing."""
        ledger = self._ledger.after_all(decisions)
        with self._producer.transaction(self._consumer) as transaction:
            for decision in decisions:
                key = decision.version or decision.window_id or str(decision.command_id)
                transaction.send(MODELS_DECISIONS, key, decision, trace_parent(record.headers))
            transaction.send_offsets(next_offsets([record]))
        self._inbox.done(record)
        self._ledger, self._tidy, self._alias_due = ledger, True, 0.0
        for decision in decisions:
            self._count(decision)

    def _pass_over(self, record: Record) -> None:
        """Moves the input's position only."""
        self._consumer.commit(next_offsets([record]))
        self._inbox.done(record)

    def _count(self, decision: Decision) -> None:
        self._metrics.verdicts.labels(decision.verdict.value).inc()
        self._metrics.quarantined.inc(int(decision.quarantined))
        self._show_champion()
        log.info(
            "decided",
            number=decision.number,
            version=decision.version,
            window_id=decision.window_id,
            verdict=decision.verdict.value,
            reasons=decision.reasons,
            champion=decision.champion_after,
        )

    def _show_champion(self) -> None:
        self._metrics.ledger_number.set(self._ledger.number)
        self._metrics.waiting.set(len(self._ledger.waiting))
        champion = self._ledger.champion
        if champion is None:
            return
        if champion.isdecimal():
            self._metrics.champion_version.set(int(champion))
        for score in self._ledger.promotions[champion].scores:
            if score.model == "challenger":
                for name, value in score.metrics.items():
                    self._metrics.champion_metric.labels(name, score.rows_name).set(value)

    # Housekeeping

    def _watch(self) -> None:
        """Compares alias and ledger, and measures the lag, when it is time."""
        self._lag.update()
        now = time.monotonic()
        if now >= self._alias_due and self._alias_is_ours_to_judge():
            assert_alias(self._registry, CHAMPION, self._ledger.champion, self._metrics.alias_repairs)
            show_challenger(self._registry, self._ledger.waiting_versions)
            self._alias_due = now + self._settings.evaluator.assert_alias_seconds

    def _alias_is_ours_to_judge(self) -> bool:
        """Not while a decision that a predecessor began may be unread: its alias may be ahead of the ledger."""
        if self._inbox.first(self._commands) or not self._consumer.assignment:
            return False
        lag = self._consumer.lag()
        if self._trial is not None:
            return self._trial.stage is Stage.SCORE and not lag.get((self._commands, 0))
        return not self._inbox.first(self._candidates) and not any(lag.values())


def read_ledger(settings: Settings) -> Ledger:
    """Folds both topics as they stand.

    Raises: LedgerCorruptError if the ledger contradicts itself or cannot be read.
    """
    entries = read_topic(settings, f"{ROLE}.ledger", MODELS_DECISIONS)
    orders = read_topic(settings, f"{ROLE}.ledger", CONTROL_COMMANDS)
    try:
        decisions = [decode(Decision, record.value, record.where()) for record in entries]
    except UnreadableRecordError as error:
        raise LedgerCorruptError(f"{error}; the ledger must be read whole, use a newer evaluator") from error
    commands = (read_event(Command, record) for record in orders)
    return Ledger.of(decisions, (command for command in commands if command is not None))


def build(context: Context) -> Loop:
    """The evaluator with everything it needs; the producer first, because it ends what a predecessor left open."""
    settings = context.settings
    check_codecs()
    create_topics(settings)
    registry = Registry(settings, context.stopping)
    registry.check()
    with ExitStack() as opened:
        producer = _kept(opened, TransactionalProducer(settings, ROLE))
        manifests = _kept(opened, Follower(settings, f"{ROLE}.windows", [WINDOWS_CLOSED]))
        ledger = read_ledger(settings)
        consumer = GroupConsumer(settings, ROLE, [MODELS_CANDIDATES, CONTROL_COMMANDS], from_beginning)
        opened.pop_all()
    return Evaluator(
        context, ledger, registry, producer, consumer, manifests, lambda e: ScoringProcess(score_models, e, settings)
    )


def _kept(opened: ExitStack, client: Client) -> Client:
    """Closed again if what follows fails: the start is repeated, and a forgotten client would live on."""
    opened.callback(client.close)
    return client


class Role(StrEnum):
    """What a process does."""

    EVALUATOR = "evaluator"
    MONITOR = "monitor"
    BASES = "bases"


def main() -> None:
    """Runs the service: all parts, or one."""
    parser = argparse.ArgumentParser(prog="python -m services.evaluator", description=__doc__)
    parser.add_argument("--role", type=Role, choices=list(Role), help="run this part only; default: all")
    role = parser.parse_args().role
    builds = {Role.EVALUATOR: build, Role.MONITOR: monitor.build, Role.BASES: bases.build}
    run_service(NAME, {part.value: builds[part] for part in ([role] if role else Role)})
