"""The evaluator's third part: judges adapted bases, and keeps the alias `base` true to their ledger.

As for models: the decision is tagged, then the alias moves, then the entry is published together with the candidate's
offset. Only then is deleted what the base was compared with, so that a scorer that is killed finds it again.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack

import structlog

from services.evaluator.alias import assert_alias
from services.evaluator.bases.exam import BaseExam, score_bases
from services.evaluator.bases.gate import Comparison
from services.evaluator.bases.housekeeping import BaseHousekeeping
from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.stream import FOLLOWED, StreamBook
from services.evaluator.bases.trial import BaseDesk, BaseTrial, Stage
from services.evaluator.inbox import Inbox, read_event
from services.evaluator.launcher import Scoring, ScoringProcess
from shared.archive import Archive
from shared.envelope import decode, trace_parent
from shared.errors import LedgerCorruptError, UnreadableRecordError
from shared.events import BaseCandidate, BaseDecision, utc_now
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
from shared.metrics import Base, BasesMetrics
from shared.registry import BASE, Registry
from shared.retry import Backoff
from shared.service import Context, Loop
from shared.settings import Settings
from shared.topics import BASES_CANDIDATES, BASES_DECISIONS, WINDOWS_CLOSED

log = structlog.get_logger("bases")

ROLE = "bases"


class Bases:
    """The loop. Its state is the ledger and what was read but is not yet in it."""

    def __init__(
        self,
        context: Context,
        ledger: BaseLedger,
        registry: Registry,
        producer: TransactionalProducer,
        consumer: GroupConsumer,
        stream: StreamBook,
        launch: Callable[[BaseExam], Scoring[Comparison]],
    ) -> None:
        """Args: ledger: read after the producer was opened, so that no predecessor can still add to it."""
        settings = context.settings
        self._seconds, self._ledger = settings.evaluator.assert_alias_seconds, ledger
        self._registry, self._producer, self._consumer = registry, producer, consumer
        self._metrics = BasesMetrics(context.registry)
        self._desk = BaseDesk(
            settings=settings.evaluator,
            registry=registry,
            stream=stream,
            launch=launch,
            metrics=self._metrics,
            backoff=Backoff(context.stopping),
            now=utc_now,
        )
        self._housekeeping = BaseHousekeeping(registry, settings.registry.keep_versions)
        self._inbox = Inbox(consumer)
        self._candidates = BASES_CANDIDATES.full_name(settings.stream.prefix)
        self._trial: BaseTrial | None = None
        self._arrived = time.monotonic()
        self._tidy = True
        self._alias_due = 0.0
        self._lag = LagReport(consumer, context.metrics.consumer_lag, settings.stream.identity(ROLE))
        self._show()
        log.info("ledger_read", number=ledger.number, base=ledger.base)

    def step(self) -> None:
        """One poll and one bounded piece of work."""
        if not self._inbox.read():
            self._drop_trial()
        candidate = self._inbox.first(self._candidates)
        if candidate:
            self._judge(candidate)
        elif self._tidy:
            self._tidy = self._housekeeping.step(self._ledger)
        self._watch()

    def close(self) -> None:
        """Ends what is under way; a restart takes it up again."""
        self._drop_trial()
        self._consumer.close()
        self._desk.stream.close()
        self._producer.close()

    def _drop_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None

    def _judge(self, record: Record) -> None:
        if self._trial is None:
            candidate = read_event(BaseCandidate, record)
            if candidate is None:
                self._pass_over(record)
                return
            self._trial, self._arrived = BaseTrial(self._desk, candidate, self._ledger), time.monotonic()
        if not self._trial.advance():
            return
        if self._trial.decision is None:
            self._pass_over(record)
        else:
            self._enter(self._trial.decision, record)
        self._drop_trial()

    def _enter(self, decision: BaseDecision, record: Record) -> None:
        """Adds the entry and moves the input's position, both or neither."""
        ledger = self._ledger.after(decision)
        with self._producer.transaction(self._consumer) as transaction:
            transaction.send(BASES_DECISIONS, decision.window_id, decision, trace_parent(record.headers))
            transaction.send_offsets(next_offsets([record]))
        self._inbox.done(record)
        self._ledger, self._tidy, self._alias_due = ledger, True, 0.0
        self._count(decision)

    def _pass_over(self, record: Record) -> None:
        """Moves the input's position only."""
        self._consumer.commit(next_offsets([record]))
        self._inbox.done(record)

    # For people

    def _count(self, decision: BaseDecision) -> None:
        self._metrics.verdicts.labels(decision.verdict.value).inc()
        self._metrics.scoring_seconds.observe(time.monotonic() - self._arrived)
        self._show()
        log.info(
            "base_decided",
            number=decision.number,
            version=decision.version,
            window_id=decision.window_id,
            verdict=decision.verdict.value,
            reasons=decision.reasons,
            base=decision.base_after,
        )

    def _show(self) -> None:
        metrics, ledger = self._metrics, self._ledger
        metrics.ledger_number.set(ledger.number)
        if ledger.base is not None and ledger.base.isdecimal():
            metrics.version.set(int(ledger.base))
        numbers = ledger.latest.numbers if ledger.latest else {}
        for gauge, name in ((metrics.perplexity, "perplexity"), (metrics.accuracy, "accuracy")):
            for base, when in ((Base.PARENT, "before"), (Base.ADAPTED, "after")):
                if (value := numbers.get(f"{name}_{when}")) is not None:
                    gauge.labels(base.value).set(value)

    # Housekeeping

    def _watch(self) -> None:
        """Compares alias and ledger, and measures the lag, when it is time."""
        self._lag.update()
        now = time.monotonic()
        if now >= self._alias_due and self._alias_is_ours_to_judge():
            assert_alias(self._registry, BASE, self._ledger.base, self._metrics.alias_repairs)
            self._alias_due = now + self._seconds

    def _alias_is_ours_to_judge(self) -> bool:
        """Not while a decision that a predecessor began may be unread: its alias may be ahead of the ledger."""
        if not self._consumer.assignment:
            return False
        if self._trial is not None:
            return self._trial.stage is Stage.SCORE
        return not self._inbox.first(self._candidates) and not any(self._consumer.lag().values())


def read_ledger(settings: Settings) -> BaseLedger:
    """Folds the topic as it stands.

    Raises: LedgerCorruptError if the ledger contradicts itself or cannot be read.
    """
    entries = read_topic(settings, f"{ROLE}.ledger", BASES_DECISIONS)
    try:
        decisions = [decode(BaseDecision, record.value, record.where()) for record in entries]
    except UnreadableRecordError as error:
        raise LedgerCorruptError(f"{error}; the ledger must be read whole, use a newer evaluator") from error
    return BaseLedger.of(decisions)


def build(context: Context) -> Loop:
    """The loop with everything it needs; the producer first, because it ends what a predecessor left open."""
    settings = context.settings
    check_codecs()
    create_topics(settings)
    registry = Registry(settings, context.stopping, model=settings.stream.registered_base)
    registry.check()
    with ExitStack() as opened:
        producer = TransactionalProducer(settings, ROLE)
        opened.callback(producer.close)
        records = Follower(settings, f"{ROLE}.stream", FOLLOWED)
        opened.callback(records.close)
        manifests = Follower(settings, f"{ROLE}.windows", [WINDOWS_CLOSED])
        opened.callback(manifests.close)
        stream = StreamBook(settings.stream.prefix, records, manifests, Archive(settings))
        ledger = read_ledger(settings)
        consumer = GroupConsumer(settings, ROLE, [BASES_CANDIDATES], from_beginning)
        opened.pop_all()
    return Bases(
        context, ledger, registry, producer, consumer, stream, lambda e: ScoringProcess(score_bases, e, settings)
    )
