"""Every topic: its name, partitions, retention and event. Nothing else in Tidemill spells a topic's name."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from shared.events import (
    BaseCandidate,
    BaseDecision,
    CanaryCounts,
    Candidate,
    ClosedWindow,
    Command,
    CuratedReview,
    Decision,
    LabeledReview,
    ServedPrediction,
    ServerState,
    UnlabeledReview,
    UnlabeledWindow,
)

DAY_MS = 24 * 60 * 60 * 1000
MAX_REVIEW_BYTES = 1024 * 1024
# A rejected record carries the original bytes plus headers, so it must fit where the original just did.
MAX_REJECTED_BYTES = MAX_REVIEW_BYTES + 64 * 1024
# Curated events repeat the text with the origin and escapes; a manifest lists every row set aside.
MAX_INTERNAL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Topic:
    """One topic, without the stream's prefix.

    Attributes:
        name: As in the documents, e.g. `reviews.labeled`.
        key: What the record key is.
        event: The model of the value; None where the value is the original bytes.
        partitions: At creation; more may be added where the design says so.
        retention_ms: -1 keeps for ever.
        written_by, read_by: For the documents.
    """

    name: str
    key: str
    event: type[BaseModel] | None
    written_by: str
    read_by: str
    partitions: int = 1
    retention_ms: int = -1
    compact: bool = False
    max_message_bytes: int = MAX_INTERNAL_BYTES
    summary: str = field(default="")

    def full_name(self, prefix: str) -> str:
        """The topic's name in Kafka: the stream's prefix, a dot, the name; no prefix, no dot."""
        return f"{prefix}.{self.name}" if prefix else self.name

    def config(self) -> dict[str, str]:
        """The topic's settings in Kafka's terms."""
        return {
            "cleanup.policy": "compact" if self.compact else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
        }


REVIEWS_LABELED = Topic(
    "reviews.labeled",
    "review id",
    LabeledReview,
    written_by="users, feedback",
    read_by="ingestor",
    partitions=3,
    retention_ms=30 * DAY_MS,
    max_message_bytes=MAX_REVIEW_BYTES,
    summary="Labelled reviews, as people have them. Publish here.",
)
REVIEWS_CURATED = Topic(
    "reviews.curated",
    "review id",
    CuratedReview,
    written_by="ingestor (curator), transactional",
    read_by="windower, monitor",
    retention_ms=30 * DAY_MS,
    summary="Reviews that passed curation. One partition, so that a window is one offset range.",
)
REVIEWS_UNLABELED = Topic(
    "reviews.unlabeled",
    "review id",
    UnlabeledReview,
    written_by="ingestor (curator), transactional",
    read_by="windower of unlabelled text",
    retention_ms=30 * DAY_MS,
    summary="Curated text without a label.",
)
REVIEWS_REJECTED = Topic(
    "reviews.rejected",
    "original key",
    None,
    written_by="ingestor (curator), same transaction",
    read_by="people, `tidemill rejected`",
    retention_ms=90 * DAY_MS,
    max_message_bytes=MAX_REJECTED_BYTES,
    summary="Records that are no reviews: the original bytes; reason, detail and origin in headers.",
)
WINDOWS_CLOSED = Topic(
    "windows.closed",
    "window id",
    ClosedWindow,
    written_by="ingestor (windower), with its offsets in one transaction",
    read_by="retrainer, evaluator",
    summary="The manifest of every window.",
)
WINDOWS_UNLABELED = Topic(
    "windows.unlabeled",
    "window id",
    UnlabeledWindow,
    written_by="ingestor (windower of unlabelled text), with its offsets in one transaction",
    read_by="retrainer, evaluator",
    summary="The manifest of every window of unlabelled text.",
)
MODELS_CANDIDATES = Topic(
    "models.candidates",
    "window id",
    Candidate,
    written_by="retrainer",
    read_by="evaluator",
    summary="A challenger for each window, or why there is none.",
)
MODELS_DECISIONS = Topic(
    "models.decisions",
    "version",
    Decision,
    written_by="evaluator",
    read_by="retrainer, server, people",
    summary="The ledger: every decision, in order, for ever.",
)
BASES_CANDIDATES = Topic(
    "bases.candidates",
    "window id",
    BaseCandidate,
    written_by="retrainer",
    read_by="evaluator",
    summary="Base models adapted to the stream's unlabelled text.",
)
BASES_DECISIONS = Topic(
    "bases.decisions",
    "window id",
    BaseDecision,
    written_by="evaluator",
    read_by="retrainer, people",
    summary="The ledger of bases: which one later trainings may start from.",
)
PREDICTIONS_SERVED = Topic(
    "predictions.served",
    "prediction id",
    ServedPrediction,
    written_by="server (sampled)",
    read_by="monitor",
    retention_ms=7 * DAY_MS,
    summary="Answers that the server gave.",
)
CONTROL_COMMANDS = Topic(
    "control.commands",
    "command id",
    Command,
    written_by="control, monitor",
    read_by="windower, retrainer, evaluator, server",
    summary="Operators' orders, with who and why.",
)
SERVERS_STATE = Topic(
    "servers.state",
    "replica id",
    ServerState,
    written_by="server",
    read_by="control",
    compact=True,
    summary="What each server replica serves.",
)

CANARIES_COUNTS = Topic(
    "canaries.counts",
    "version, replica and session",
    CanaryCounts,
    written_by="server",
    read_by="evaluator, people",
    compact=True,
    summary="What each replica has counted of a challenger beside the champion.",
)

ALL_TOPICS: tuple[Topic, ...] = (
    REVIEWS_LABELED,
    REVIEWS_CURATED,
    REVIEWS_UNLABELED,
    REVIEWS_REJECTED,
    WINDOWS_CLOSED,
    WINDOWS_UNLABELED,
    MODELS_CANDIDATES,
    MODELS_DECISIONS,
    BASES_CANDIDATES,
    BASES_DECISIONS,
    PREDICTIONS_SERVED,
    CONTROL_COMMANDS,
    SERVERS_STATE,
    CANARIES_COUNTS,
)
