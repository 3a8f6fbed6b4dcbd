"""Every message that travels through Tidemill's topics: the only place where a payload is defined.

Strict inside (unknown fields are refused), lenient at the door (`LabeledReview`). Each event carries `event_version`;
a reader refuses a version newer than its own, so that an old service never half-understands a new event.
"""

import os
import random
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StringConstraints

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MAX_ID_CHARS = 512


# A system call for each of several identifiers a record costs more than the rest of the record.
_RANDOM = random.Random(random.SystemRandom().getrandbits(256))
os.register_at_fork(after_in_child=lambda: _RANDOM.seed(random.SystemRandom().getrandbits(256)))


def new_id() -> str:
    """A random identifier: 32 hexadecimal characters. To tell things apart, never to keep a secret."""
    return f"{_RANDOM.getrandbits(128):032x}"


def utc_now() -> datetime:
    """The time now, with its zone."""
    return datetime.now(UTC)


class Event(BaseModel):
    """What every strict event shares: frozen, nothing unknown, a version."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    ce_type: ClassVar[str] = ""
    event_version: Literal[1] = 1


class Origin(BaseModel):
    """Where a review came from: one record of `reviews.labeled`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    partition: NonNegativeInt
    offset: NonNegativeInt


class Side(StrEnum):
    """What a row may be used for; fixed for ever by the hash of its text."""

    TRAIN = "train"
    VALIDATION = "validation"
    CALIBRATION = "calibration"
    HOLDOUT = "holdout"


class RejectionReason(StrEnum):
    """Why a record of `reviews.labeled` was rejected: a closed set, each a metric label."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    UNKNOWN_LABEL = "unknown_label"
    FUTURE_VERSION = "future_version"
    EMPTY = "empty"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CONTROL_CHARACTERS = "control_characters"
    SYMBOLS = "symbols"
    REPETITION = "repetition"
    LANGUAGE = "language"


class SetAside(StrEnum):
    """Why a curated review of a window is kept out of it."""

    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    CONFLICT = "conflict"
    SPLIT_CONFLICT = "split_conflict"


def _short_id(value: str | int | None) -> str | int | None:
    """Bounds what becomes a key, a column and a word in many messages; numbers too, since they become text."""
    if len(str(value)) > MAX_ID_CHARS:
        raise ValueError(f"at most {MAX_ID_CHARS} characters")
    return value


class LabeledReview(BaseModel):
    """What users publish. Only `text` and `label` are needed; fields that we do not know are ignored.

    `label` is a class name, a number or a configured alias; null means text without a label.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    ce_type: ClassVar[str] = "tidemill.review.labeled"
    text: str = Field(description="The review as written.")
    label: str | int | float | bool | None = Field(description="Class name, number or alias; null: unlabelled.")
    id: Annotated[str | int | None, AfterValidator(_short_id)] = Field(
        None, description="The publisher's own id, of at most 512 characters. Default: derived from the origin."
    )
    split: Literal["train", "test"] | None = Field(None, description="'test': never trained on.")
    source: str | None = Field(None, max_length=200, description="Where the review was written.")
    created_at: datetime | None = Field(None, description="When it was written; data only, never used as a clock.")
    prediction_id: str | None = Field(None, max_length=200, description="The served prediction that this answers.")
    event_version: int = Field(1, description="Newer than 1 is rejected, not guessed at.")


class CuratedReview(Event):
    """A review that passed curation: normalised, masked, labelled, assigned to a side."""

    ce_type: ClassVar[str] = "tidemill.review.curated"
    id: str = Field(description="The publisher's id, or PARTITION-OFFSET of the origin.")
    text: str = Field(description="Normalised and masked text.")
    label: NonNegativeInt = Field(description="Class id, an index into the stream's label names.")
    side: Side
    marked_test: bool = Field(description="The publisher said test; if `side` is not holdout, a split conflict.")
    source: str | None = None
    created_at: datetime | None = None
    prediction_id: str | None = None
    origin: Origin
    published_at: datetime = Field(description="Broker time of the record in `reviews.labeled`.")


class UnlabeledReview(Event):
    """A review without a label, curated like the others; kept for domain adaptation."""

    ce_type: ClassVar[str] = "tidemill.review.unlabeled"
    id: str
    text: str
    side: Side
    source: str | None = None
    created_at: datetime | None = None
    origin: Origin
    published_at: datetime


class Trigger(StrEnum):
    """What closed a window."""

    COUNT = "count"
    AGE = "age"
    PER_CLASS = "per_class"
    MAX_ROWS = "max_rows"
    OPERATOR = "operator"
    DRIFT = "drift"


class SplitRecord(BaseModel):
    """How a stream splits its reviews; fixed at the stream's first window."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    salt: str
    holdout_share: NonNegativeInt = Field(description="Thousandths of reviews held out.")
    calibration_share: NonNegativeInt = Field(description="Thousandths for the temperature.")
    validation_share: NonNegativeInt = Field(description="Thousandths for early stopping.")
    normaliser_version: str


class SetAsideRow(BaseModel):
    """One curated review that a window kept out, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    offset: NonNegativeInt = Field(description="Offset in the topic that the window was cut from.")
    reason: SetAside


class Snapshot(BaseModel):
    """A window's rows as written to the archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str = Field(description="Below the archive's root; its name holds the digest.")
    sha256: Sha256
    size_bytes: PositiveInt


class ClosedWindow(Event):
    """The manifest of one window: an immutable, contiguous offset range of `reviews.curated`."""

    ce_type: ClassVar[str] = "tidemill.window.closed"
    window_id: str = Field(description="w- and the first offset, ten digits: w-0000001200.")
    sequence: NonNegativeInt = Field(description="0 for the stream's first window.")
    first_offset: NonNegativeInt
    last_offset: NonNegativeInt = Field(description="Offset of the last review in the range, inclusive.")
    reviews: PositiveInt = Field(description="Curated reviews in the range: kept + set aside.")
    kept: NonNegativeInt
    set_aside: tuple[SetAsideRow, ...]
    sides: dict[Side, NonNegativeInt] = Field(description="Kept rows by side.")
    labels: dict[str, NonNegativeInt] = Field(description="Kept rows by label name.")
    sources: dict[str, NonNegativeInt] = Field(description="Kept rows by source; beyond the largest 50: 'other'.")
    label_names: tuple[str, ...]
    origins: dict[str, tuple[int, int]] = Field(description="Partition of `reviews.labeled` -> (lowest, highest).")
    first_published_at: datetime
    last_published_at: datetime
    trigger: Trigger
    trigger_detail: str
    trainable: bool
    not_trainable_because: str | None = None
    split: SplitRecord
    snapshot: Snapshot
    closed_at: datetime
    trace_parent: str | None = None


class UnlabeledWindow(Event):
    """The manifest of one window of `reviews.unlabeled`: text for domain adaptation, immutable like any window."""

    ce_type: ClassVar[str] = "tidemill.window.unlabeled"
    window_id: str = Field(description="u- and the first offset, ten digits: u-0000001200.")
    sequence: NonNegativeInt = Field(description="0 for the stream's first window of unlabelled text.")
    first_offset: NonNegativeInt
    last_offset: NonNegativeInt = Field(description="Offset of the last review in the range, inclusive.")
    reviews: PositiveInt = Field(description="Unlabelled reviews in the range: kept + set aside.")
    kept: NonNegativeInt
    set_aside: tuple[SetAsideRow, ...]
    sides: dict[Side, NonNegativeInt] = Field(description="Kept rows by side.")
    sources: dict[str, NonNegativeInt] = Field(description="Kept rows by source; beyond the largest 50: 'other'.")
    origins: dict[str, tuple[int, int]] = Field(description="Partition of `reviews.labeled` -> (lowest, highest).")
    first_published_at: datetime
    last_published_at: datetime
    trigger: Trigger
    trigger_detail: str
    split: SplitRecord
    snapshot: Snapshot
    closed_at: datetime
    trace_parent: str | None = None


class TrainingMetrics(BaseModel):
    """What a training job measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    steps: NonNegativeInt
    rows_seen: NonNegativeInt
    tokens_seen: NonNegativeInt
    final_loss: float
    seconds: float
    rows_per_second: float
    temperature: float


class CandidateStatus(StrEnum):
    """How a window's training ended; `distrusted`: it was not begun, because of the window's labels."""

    READY = "ready"
    FAILED = "failed"
    SKIPPED = "skipped"
    DISTRUSTED = "distrusted"


class Candidate(Event):
    """A challenger for the gate, or the reason why a window, or an order to rebuild, has none."""

    ce_type: ClassVar[str] = "tidemill.model.candidate"
    window_id: str = Field(description="The newest window's, or rebuild-ID of the order that it answers.")
    window_ids: tuple[str, ...] = Field(description="All windows of new rows, the newest last.")
    status: CandidateStatus
    reason: str | None = Field(None, description="Why there is no model.")
    version: str | None = Field(None, description="Model version in the registry.")
    run_id: str | None = None
    model_digest: Sha256 | None = None
    parent_version: str | None = Field(None, description="Version that training started from; null: the base model.")
    replay_window_ids: tuple[str, ...] = ()
    rebuild_of: str | None = Field(None, description="Version whose history was trained again; null: a window's own.")
    without: tuple[str, ...] = Field((), description="What its line was rebuilt without, as an order's target says.")
    base_version: str | None = Field(None, description="Version of the adapted base that its line began with.")
    metrics: TrainingMetrics | None = None
    numbers: dict[str, float] = Field(default_factory=dict, description="Distrusted: what speaks against the labels.")
    created_at: datetime


class AdaptationMetrics(BaseModel):
    """What a domain adaptation measured; losses are means per masked token, in nats, on validation rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    steps: NonNegativeInt
    tokens_seen: NonNegativeInt
    loss_before: float | None = Field(None, description="Of the parent base; null without validation rows.")
    loss_after: float | None = None
    seconds: float


class BaseCandidate(Event):
    """A base model adapted to the stream's unlabelled text, for the gate; or the reason why there is none."""

    ce_type: ClassVar[str] = "tidemill.base.candidate"
    window_id: str = Field(description="The newest window of unlabelled text that it learned.")
    window_ids: tuple[str, ...] = Field(description="All windows of new text, the newest last.")
    status: Literal[CandidateStatus.READY, CandidateStatus.FAILED]
    reason: str | None = Field(None, description="Why there is no model.")
    version: str | None = Field(None, description="Version of the registered base model.")
    run_id: str | None = None
    model_digest: Sha256 | None = None
    exam_digest: Sha256 | None = Field(
        None, description="Of the run's folder `exam`: the parent as masked-language model, and both fine-tuned."
    )
    parent_version: str | None = Field(None, description="Adapted base that it grew from; null: the base itself.")
    base_digest: Sha256 | None = Field(None, description="Of the configured base's files, with which its line began.")
    probe_window_ids: tuple[str, ...] = Field((), description="Windows whose labels both bases were fine-tuned on.")
    metrics: AdaptationMetrics | None = None
    created_at: datetime


class Verdict(StrEnum):
    """What the gate says."""

    PROMOTE = "promote"
    REJECT = "reject"
    UNDECIDED = "undecided"
    ROLLBACK = "rollback"


class Outcome(StrEnum):
    """What one gate term says."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not_applicable"


class TermResult(BaseModel):
    """One gate term with the numbers it was judged on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str
    outcome: Outcome
    guard: bool = Field(description="True: must pass. False: reported only.")
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    rows: NonNegativeInt = 0
    need_rows: NonNegativeInt | None = Field(None, description="Held-out rows to settle it, about an even chance.")
    detail: str = Field(description="One sentence with both numbers.")


class Score(BaseModel):
    """A model's quality on one set of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    model: str = Field(description="'challenger', 'champion' or 'baseline'.")
    rows_name: str = Field(description="'fresh': this window's hold-out; 'pool': the latest held-out rows.")
    rows: NonNegativeInt
    metrics: dict[str, float]


class Decision(Event):
    """One entry of the ledger `models.decisions`: the only thing that may move the champion."""

    ce_type: ClassVar[str] = "tidemill.model.decision"
    number: PositiveInt = Field(description="Place in the ledger, 1 first, without gaps.")
    version: str | None = Field(description="The version decided on; null if the window has no model.")
    window_id: str | None = Field(description="Null for an operator's rollback.")
    verdict: Verdict
    reasons: tuple[str, ...]
    need_rows: NonNegativeInt | None = None
    champion_before: str | None
    champion_after: str | None
    anchor: str | None = Field(None, description="After this entry: the last version proven better than its anchor.")
    looked_window_id: str | None = Field(None, description="Newest window whose hold-out was looked at.")
    run_id: str | None = None
    model_digest: Sha256 | None = Field(None, description="Digest of `version`'s files.")
    terms: tuple[TermResult, ...] = ()
    scores: tuple[Score, ...] = ()
    numbers: dict[str, float] = Field(default_factory=dict, description="Counts, evidence, interval.")
    policy: dict[str, Any] = Field(default_factory=dict, description="The gate's settings as used.")
    quarantined: bool = Field(False, description="Its held-out rows leave the pool; it is not replayed.")
    without: tuple[str, ...] = Field((), description="What the version's line was rebuilt without.")
    decided_by: str = Field("gate", description="'gate', or who rolled back.")
    command_id: str | None = Field(None, description="The operator's command that this entry answers.")
    decided_at: datetime


class BaseDecision(Event):
    """One entry of the ledger of bases: whether later trainings may start from an adapted base."""

    ce_type: ClassVar[str] = "tidemill.base.decision"
    number: PositiveInt = Field(description="Place in this ledger, 1 first, without gaps.")
    version: str | None = Field(description="The base decided on; null if the adaptation failed.")
    window_id: str
    verdict: Literal[Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED]
    reasons: tuple[str, ...]
    base_before: str | None = Field(description="Adapted base in use before; null: the configured base.")
    base_after: str | None
    model_digest: Sha256 | None = Field(None, description="Digest of `version`'s files.")
    run_id: str | None = None
    terms: tuple[TermResult, ...] = ()
    numbers: dict[str, float] = Field(default_factory=dict, description="Counts, evidence, perplexities.")
    policy: dict[str, Any] = Field(default_factory=dict, description="The gate's settings as used.")
    decided_at: datetime


class ServingRole(StrEnum):
    """As what a model answers: `champion` to all, `canary` to a sticky share, `shadow` to nobody, only to compare."""

    CHAMPION = "champion"
    CANARY = "canary"
    SHADOW = "shadow"


class ServedPrediction(Event):
    """One answer that the server gave."""

    ce_type: ClassVar[str] = "tidemill.prediction.served"
    prediction_id: str
    version: str
    text_sha256: Sha256 = Field(description="Digest of the prepared text; the text itself stays with the server.")
    label: str
    score: float
    scores: dict[str, float]
    role: ServingRole = Field(ServingRole.CHAMPION, description="Of the version when it answered.")
    replica_id: str
    served_at: datetime


class CommandKind(StrEnum):
    """What an operator, or the monitor, may ask. `drift` closes the open window early; `rebuild` learns anew."""

    CLOSE_WINDOW = "close_window"
    RELEASE_WINDOW = "release_window"
    ROLLBACK = "rollback"
    DRIFT = "drift"
    REBUILD = "rebuild"
    CANARY = "canary"


class CanaryTerms(BaseModel):
    """How a challenger answers beside the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    role: Literal[ServingRole.CANARY, ServingRole.SHADOW]
    share: float = Field(ge=0, le=1, description="Canary: of the callers. Shadow: of the texts. 0: the order ends all.")
    decision: NonNegativeInt = Field(
        description="Newest entry of the ledger at the order. A later one that moves the champion, or settles the "
        "version, ends it."
    )


class Command(Event):
    """An operator's order; recorded for ever with who and why."""

    ce_type: ClassVar[str] = "tidemill.control.command"
    command_id: str
    kind: CommandKind
    target: str | None = Field(
        None,
        description="Window id or version; null: the open window / the version before. Drift: the offset in "
        "`reviews.curated` that showed it. Rebuild: what to leave out, source=NAME or offsets=FIRST-LAST. Canary: the "
        "version; null: the champion answers alone.",
    )
    against: str | None = Field(
        None,
        description="A rollback only while this version is champion; null: whichever is. Rebuild: of this version.",
    )
    canary: CanaryTerms | None = Field(None, description="Of an order about a canary.")
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    numbers: dict[str, float] = Field(default_factory=dict, description="What the watch had counted, if it orders.")
    issued_at: datetime


class ServerPhase(StrEnum):
    """What a server is doing about its model."""

    WAITING = "waiting"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    LOADING = "loading"
    WARMING = "warming"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"


class CanaryState(BaseModel):
    """What a replica does about the challenger beside its champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: str
    role: ServingRole
    share: float = Field(description="Canary: of the callers. Shadow: of the texts.")
    phase: ServerPhase
    reason: str | None = Field(None, description="Why it does not answer.")


class CanaryCounts(Event):
    """What one replica has counted of one challenger so far; the last one of each session counts, and they add up."""

    ce_type: ClassVar[str] = "tidemill.canary.counts"
    version: str
    champion: str = Field(description="The version that it is compared with.")
    role: ServingRole
    replica_id: str
    session_id: str = Field(description="One stay of the challenger in one process, in one role.")
    asked: NonNegativeInt = Field(description="Requests that it was to answer and texts to compare, failed ones too.")
    answers: NonNegativeInt = Field(description="Texts that it answered to callers.")
    failures: NonNegativeInt = Field(description="Requests that it failed on or had not ended in time, and copies.")
    compared: NonNegativeInt = Field(description="Texts that both were asked, one after the other, nothing else going.")
    disagreements: NonNegativeInt = Field(description="Of these: the labels differ.")
    score_difference: float = Field(
        description="Of these: sum of the absolute differences in the probability of the champion's label."
    )
    timed: NonNegativeInt = Field(description="Of these: both computed by one plan, so that their times compare.")
    seconds: float = Field(description="That the challenger took for those that are timed.")
    champion_seconds: float = Field(description="That the champion took for the same.")
    at: datetime


class ServerState(Event):
    """What one replica serves; the last one per replica counts."""

    ce_type: ClassVar[str] = "tidemill.server.state"
    replica_id: str
    version: str | None
    plan: str | None = Field(None, description="How it answers: backend, precision, threads, tokens at once.")
    phase: ServerPhase
    reason: str | None = None
    url: str | None = None
    canary: CanaryState | None = Field(None, description="The challenger beside the champion, if there is one.")
    at: datetime
