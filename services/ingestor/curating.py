"""The curator at work: one transaction for each poll, with every record's one output and the positions read."""

import time
from collections import Counter

from services.ingestor.beginnings import CuratorStart, check_split
from services.ingestor.curator import Curator, Judgement, Rejected
from services.ingestor.outputs import rejected_record, split_header
from shared.envelope import trace_parent
from shared.events import CuratedReview, Origin, RejectionReason, UnlabeledReview
from shared.kafka import GroupConsumer, Record, Transaction, TransactionalProducer, next_offsets
from shared.lag import LagReport
from shared.metrics import IngestorMetrics, ReviewOutcome
from shared.provenance import origin_header
from shared.service import Context
from shared.topics import REVIEWS_CURATED, REVIEWS_LABELED, REVIEWS_REJECTED, REVIEWS_UNLABELED

ROLE = "curator"


class CuratorLoop:
    """Reads `reviews.labeled`; killed between any two lines it neither loses nor doubles a review."""

    def __init__(self, context: Context, metrics: IngestorMetrics) -> None:
        """Raises ConfigurationError if the stream was begun with another split."""
        settings = context.settings
        self._metrics = metrics
        self._curator = Curator(settings.stream, settings.ingestor)
        self._split_header = split_header(self._curator.split)
        check_split(settings, self._curator.split)
        self._producer = TransactionalProducer(settings, f"{ROLE}.{settings.ingestor.instance}")
        self._consumer = GroupConsumer(settings, ROLE, [REVIEWS_LABELED], CuratorStart(settings))
        self._lag = LagReport(self._consumer, context.metrics.consumer_lag, settings.stream.identity(ROLE))

    def step(self) -> None:
        """Judges what one poll brings."""
        records = self._consumer.poll()
        if records:
            self._curate(records)
        self._lag.update()

    def _curate(self, records: list[Record]) -> None:
        begun = time.monotonic()
        # All are judged before the first is sent: the producer's thread would only take turns with this one.
        judged = [(record, self._judge(record)) for record in records]
        with self._producer.transaction(self._consumer) as transaction:  # an exception aborts it and seeks back
            outcomes = Counter(self._write(transaction, record, judgement) for record, judgement in judged)
            transaction.send_offsets(next_offsets(records))
        self._metrics.transaction.observe(time.monotonic() - begun)
        self._count(outcomes, Counter(each.reason for _, each in judged if isinstance(each, Rejected)))

    def _judge(self, record: Record) -> Judgement:
        origin = Origin(partition=record.partition, offset=record.offset)
        return self._curator.judge(record.value, origin, record.published_at)

    def _write(self, transaction: Transaction, record: Record, judgement: Judgement) -> ReviewOutcome:
        origin = origin_header(record.partition, record.offset)
        marks = (origin, self._split_header)
        match judgement:
            case CuratedReview():
                transaction.send(REVIEWS_CURATED, judgement.id, judgement, trace_parent(record.headers), marks)
                return ReviewOutcome.CURATED
            case UnlabeledReview():
                transaction.send(REVIEWS_UNLABELED, judgement.id, judgement, trace_parent(record.headers), marks)
                return ReviewOutcome.UNLABELED
            case Rejected():
                parts = rejected_record(record.key, record.value, record.headers, origin, judgement)
                transaction.send_bytes(REVIEWS_REJECTED, *parts)
                return ReviewOutcome.REJECTED

    def _count(self, outcomes: Counter[ReviewOutcome], rejections: Counter[RejectionReason]) -> None:
        for outcome, number in outcomes.items():
            self._metrics.reviews.labels(outcome.value).inc(number)
        for reason, number in rejections.items():
            self._metrics.rejections.labels(reason.value).inc(number)

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()
        self._producer.close()
