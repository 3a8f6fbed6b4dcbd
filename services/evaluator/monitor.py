"""The evaluator's second part: watches what was promoted, on labelled reviews and answers as they arrive.

It reads and asks; it decides nothing. A champion proven worse than an earlier version is reported to the evaluator as a
command, and drift to the windower. Killed between any two lines, no review counts twice: positions, reviews, answers
and feedback share one file and its transactions, and everything else is folded from them and from the ledger again.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import timedelta

import structlog

from services.evaluator.alarms import drifted, rollback
from services.evaluator.gauges import Gauges
from services.evaluator.lookout import Lookout
from services.evaluator.notebook import NOTEBOOK_FILE, Notebook
from services.evaluator.reign import Reign, Succession
from services.evaluator.shadow import Shadow, ShadowProcess, watch_folder
from services.evaluator.vigil import Vigil
from shared.envelope import decode
from shared.errors import LedgerCorruptError, RetryableError, UnreadableRecordError
from shared.events import ClosedWindow, Command, CuratedReview, Decision, ServedPrediction, utc_now
from shared.kafka import Follower, GroupConsumer, Partition, Producer, Record, check_codecs, create_topics, next_offsets
from shared.lag import LagReport
from shared.metrics import FeedbackOutcome, MonitorMetrics
from shared.service import Context, Loop
from shared.settings import Settings
from shared.topics import CONTROL_COMMANDS, MODELS_DECISIONS, PREDICTIONS_SERVED, REVIEWS_CURATED, WINDOWS_CLOSED

log = structlog.get_logger("monitor")

ROLE = "monitor"
NEVER = -1
DELIVERY_SECONDS = 15.0
DRIFT_MARK = "drift"
DAY = timedelta(days=1)


class Monitor:
    """The loop. Its state is the notebook, the ledger, and what was asked of others since the start."""

    def __init__(
        self,
        context: Context,
        consumer: GroupConsumer,
        follower: Follower,
        notebook: Notebook,
        shadow: Shadow,
        send: Callable[[Command], None],
    ) -> None:
        """Args: follower: of decisions and windows, from their beginning."""
        settings, monitor = context.settings, context.settings.evaluator.monitor
        prefix = settings.stream.prefix
        self._labels, self._settings, self._send = settings.stream.labels, monitor, send
        self._curated, self._served, self._decisions = (
            topic.full_name(prefix) for topic in (REVIEWS_CURATED, PREDICTIONS_SERVED, MODELS_DECISIONS)
        )
        self._consumer, self._follower, self._notebook = consumer, follower, notebook
        self._metrics = MonitorMetrics(context.registry)
        self._lag = LagReport(consumer, context.metrics.consumer_lag, settings.stream.identity(ROLE))
        self._gauges = Gauges(monitor, self._labels, notebook, self._metrics)
        self._succession, self._lookout = Succession(), Lookout(monitor, notebook, shadow)
        self._generation = NEVER
        self._asked: set[str] = set()
        self._learn(follower.catch_up())

    def step(self) -> None:
        """One poll, one look at what models answered, and what follows from it."""
        try:
            self._read()
            self._learn(self._follower.poll())
            self._lookout.step()
            self._act()
            self._gauges.update(self._lookout)
            self._lag.update()
        except sqlite3.DatabaseError as error:
            self._recover(error)

    def close(self) -> None:
        """Ends what is under way; a restart takes it up again."""
        self._lookout.close()
        self._consumer.close()
        self._follower.close()
        self._notebook.close()

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        """Reads on from what is noted; a file that is none any more is begun anew."""
        self._generation = NEVER
        if not isinstance(error, sqlite3.OperationalError):
            self._notebook.start_over(str(error))
        self._lookout.restart()
        raise RetryableError(f"the monitor's notebook: {error}") from error

    # Reading

    def _read(self) -> None:
        records = self._consumer.poll()
        if self._consumer.generation != self._generation:
            self._resume()  # these records are behind the group's position, not behind the notebook's
        elif records:
            with self._notebook.transaction():
                self._note(records)
            self._consumer.commit(next_offsets(records))
            self._lookout.look_again()

    def _resume(self) -> None:
        generation = self._consumer.generation
        for topic, partition in self._consumer.assignment:
            self._consumer.seek((topic, partition), self._notebook.position(topic) or 0)
        self._generation = generation

    def _note(self, records: list[Record]) -> None:
        for record in records:
            try:
                self._note_review(record) if record.topic == self._curated else self._note_answer(record)
            except UnreadableRecordError as error:
                log.error("record_passed_over", error=str(error))
        for (topic, _), position in next_offsets(records).items():
            self._notebook.move(topic, position)
        self._notebook.prune()
        newest = max(record.published_at for record in records)
        for outcome, number in self._notebook.feedback.expire(newest.timestamp()).items():
            self._metrics.feedback.labels(outcome.value).inc(number)

    def _note_review(self, record: Record) -> None:
        review, at = decode(CuratedReview, record.value, record.where()), record.published_at.timestamp()
        if review.label >= len(self._labels):
            raise UnreadableRecordError(f"{record.where()} has label {review.label}; known: {list(self._labels)}")
        self._notebook.note(record.offset, at, review.label, review.text)
        if review.prediction_id is not None:
            label = self._labels[review.label]
            self._count(self._notebook.feedback.labelled(review.prediction_id, label, at))

    def _note_answer(self, record: Record) -> None:
        answer = decode(ServedPrediction, record.value, record.where())
        self._count(self._notebook.feedback.answered(answer, record.published_at.timestamp()))

    def _count(self, outcome: FeedbackOutcome | None) -> None:
        if outcome is not None:
            self._metrics.feedback.labels(outcome.value).inc()

    # The ledger

    def _learn(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.topic == self._decisions:
                self._succession.enter(_decision(record), record.published_at)
            else:
                self._close(record)
        self._lookout.serve(self._succession.reign())

    def _close(self, record: Record) -> None:
        try:
            self._succession.close(decode(ClosedWindow, record.value, record.where()))
        except UnreadableRecordError as error:
            log.error("record_passed_over", error=str(error))

    # What follows

    def _act(self) -> None:
        reign, vigil = self._lookout.reign, self._lookout.vigil
        if reign is not None and vigil is not None:
            self._report_drift(reign, vigil)
            self._report_alarm(reign, vigil)

    def _report_drift(self, reign: Reign, vigil: Vigil) -> None:
        done = self._notebook.mark(DRIFT_MARK)
        for drift in vigil.drifts:
            if drift.offset <= done:
                continue
            if self._settings.close_on_drift:
                self._send(drifted(reign, drift, utc_now()))
            self._notebook.set_mark(DRIFT_MARK, drift.offset)
            self._metrics.drifts.inc()

    def _report_alarm(self, reign: Reign, vigil: Vigil) -> None:
        """Once a reign, and not while the day's bound would refuse it: a refusal is an answer, too."""
        now, ledger = utc_now(), self._succession.ledger
        alarm = min(vigil.alarms.values(), key=lambda each: each.bet.offset, default=None)
        is_full = ledger.rollbacks_by_watch(since=now - DAY) >= self._settings.rollbacks_per_day
        self._metrics.rollbacks_held.set(int(alarm is not None and is_full))
        if alarm is None or is_full:
            return
        command = rollback(reign, alarm, self._settings, now)
        if command.command_id not in self._asked | ledger.answered_commands:
            self._send(command)
            self._asked.add(command.command_id)
            self._metrics.rollbacks_asked.inc()
            log.warning("rollback_asked", champion=reign.champion.version, target=command.target, why=command.why)


class Resting:
    """A monitor that is switched off."""

    def __init__(self, stopping: threading.Event, seconds: float) -> None:
        self._stopping, self._seconds = stopping, seconds

    def step(self) -> None:
        """Waits."""
        self._stopping.wait(self._seconds)

    def close(self) -> None:
        """There is nothing to let go of."""


def build(context: Context) -> Loop:
    """The monitor with everything it needs."""
    settings = context.settings
    if not settings.evaluator.monitor.enabled:
        return Resting(context.stopping, settings.kafka.poll_seconds)
    check_codecs()
    create_topics(settings)
    with ExitStack() as opened:
        follower = Follower(settings, f"{ROLE}.ledger", [MODELS_DECISIONS, WINDOWS_CLOSED])
        opened.callback(follower.close)
        notebook = Notebook(watch_folder(settings) / NOTEBOOK_FILE, settings.evaluator.monitor)
        opened.callback(notebook.close)
        consumer = GroupConsumer(settings, ROLE, [REVIEWS_CURATED, PREDICTIONS_SERVED], _start(notebook))
        opened.callback(consumer.close)
        monitor = Monitor(context, consumer, follower, notebook, ShadowProcess(settings), _sender(settings))
        opened.pop_all()
    return monitor


def _start(notebook: Notebook) -> Callable[[Partition, int, int], int]:
    """The notebook says where to read, not the group; what it says may lie in a topic that is no more."""

    def start(partition: Partition, beginning: int, end: int) -> int:
        position = notebook.position(partition[0]) or 0
        if position > end:
            notebook.start_over(f"{partition[0]} ends at {end}, and was read up to {position}")
        return max(beginning, position if position <= end else 0)

    return start


def _sender(settings: Settings) -> Callable[[Command], None]:
    """A connection for each command: they are rare."""

    def send(command: Command) -> None:
        producer = Producer(settings, ROLE)
        try:
            producer.send(CONTROL_COMMANDS, command.command_id, command).wait(DELIVERY_SECONDS)
        finally:
            producer.close()

    return send


def _decision(record: Record) -> Decision:
    try:
        return decode(Decision, record.value, record.where())
    except UnreadableRecordError as error:
        raise LedgerCorruptError(f"{error}; the ledger must be read whole, use a newer evaluator") from error
