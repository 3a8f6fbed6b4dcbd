"""Every Prometheus metric of Tidemill, declared once: name, unit, help, labels.

Each service makes the groups that it needs with its own registry. Labels come from closed sets, and every such series
starts at 0, so that the first event is a rise. Of model versions, which never end, a server keeps the latest.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.events import (
    CandidateStatus,
    ClosedWindow,
    Event,
    RejectionReason,
    ServerPhase,
    ServingRole,
    SetAside,
    Trigger,
    UnlabeledWindow,
    Verdict,
)

TRANSACTION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)
LATENCY_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FRESHNESS_SECONDS = (10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ReviewOutcome(StrEnum):
    """Where a record of `reviews.labeled` went."""

    CURATED = "curated"
    UNLABELED = "unlabeled"
    REJECTED = "rejected"


class RequestOutcome(StrEnum):
    """How a prediction request ended."""

    OK = "ok"
    INVALID = "invalid"
    NO_MODEL = "no_model"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    ABANDONED = "abandoned"
    FAILED = "failed"


class InferenceProtocol(StrEnum):
    """How a prediction was asked for. A line of a bulk stream counts as a request of its own."""

    TIDEMILL = "tidemill"
    NDJSON = "ndjson"
    OPEN_INFERENCE = "open_inference"
    MLFLOW = "mlflow"
    TEI = "tei"


class Refusal(StrEnum):
    """Why a request was refused at the door."""

    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    NOT_ADMIN = "not_admin"
    ADMIN_CLOSED = "admin_closed"


class Dependency(StrEnum):
    """What a server asks for new models."""

    KAFKA = "kafka"
    REGISTRY = "registry"


class SwapOutcome(StrEnum):
    """How taking over a new champion ended."""

    SERVING = "serving"
    FAILED = "failed"


class FeedbackOutcome(StrEnum):
    """What became of a label that names a served answer, or of an answer that waited for one."""

    JOINED = "joined"
    LATE = "late"
    REPEATED = "repeated"
    UNMATCHED = "unmatched"
    UNANSWERED = "unanswered"


class Role(StrEnum):
    """Who is scored on fresh reviews."""

    CHAMPION = "champion"
    PREVIOUS = "previous"
    ANCHOR = "anchor"


class Span(StrEnum):
    """How far back a figure looks."""

    REIGN = "reign"
    RECENT = "recent"


class Base(StrEnum):
    """Which of two bases that are compared."""

    PARENT = "parent"
    ADAPTED = "adapted"


class InputTrait(StrEnum):
    """What of the texts may drift."""

    LENGTH = "length"
    VOCABULARY = "vocabulary"
    EMBEDDING = "embedding"


def _start_at_zero(metric: Counter, *labels: Iterable[StrEnum]) -> Counter:
    for values in product(*labels):
        metric.labels(*(value.value for value in values))
    return metric


def _keep(metric: Counter | Histogram, versions: Collection[str]) -> None:
    """Removes the series of other versions. `version` is the first label; `role` may be another."""
    labels = [sample.labels for family in metric.collect() for sample in family.samples]
    series = {tuple(each[name] for name in ("version", "role") if name in each) for each in labels}
    for version, *role in series:
        if version not in versions:
            metric.remove(version, *role)


class ServiceMetrics:
    """What every service has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ready = Gauge("tidemill_ready", "1 while the service can do its work.", registry=registry)
        self.retries = Counter(
            "tidemill_retries_total",
            "Steps repeated because Kafka, MLflow or the archive did not answer. Rising: look at the log's reason.",
            registry=registry,
        )
        self.consumer_lag = Gauge(
            "tidemill_consumer_lag_records",
            "Records not read yet, transaction markers included. Rising without end: add instances or cores.",
            ["group", "topic", "partition"],
            registry=registry,
        )


class WindowMetrics:
    """One windower: `tidemill_…` of labelled reviews, `tidemill_unlabeled_…` of text without labels."""

    def __init__(self, registry: CollectorRegistry, prefix: str, reviews: str) -> None:
        """Args: reviews: what the windows hold, for the help texts."""
        self.windowed = Counter(
            f"{prefix}_reviews_windowed_total",
            f"{reviews} read into windows; after a restart the open window's count again.",
            registry=registry,
        )
        self.open_window_reviews = Gauge(
            f"{prefix}_open_window_reviews", f"{reviews} in the open window.", registry=registry
        )
        self.open_window_kept = Gauge(
            f"{prefix}_open_window_kept_reviews",
            f"{reviews} in the open window that are not set aside.",
            registry=registry,
        )
        self.open_window_age = Gauge(
            f"{prefix}_open_window_age_seconds",
            "Since the open window's oldest review was published. 0 while it is empty.",
            registry=registry,
        )
        self.set_aside = _start_at_zero(
            Counter(
                f"{prefix}_reviews_set_aside_total",
                f"{reviews} kept out of closed windows, by reason.",
                ["reason"],
                registry=registry,
            ),
            SetAside,
        )
        self.windows = _start_at_zero(
            Counter(f"{prefix}_windows_closed_total", "Closed windows by trigger.", ["trigger"], registry=registry),
            Trigger,
        )


class IngestorMetrics:
    """Curation and windows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reviews = _start_at_zero(
            Counter("tidemill_reviews_total", "Records of reviews.labeled by outcome.", ["outcome"], registry=registry),
            ReviewOutcome,
        )
        self.rejections = _start_at_zero(
            Counter(
                "tidemill_rejections_total",
                "Rejected records by reason. See them with 'tidemill rejected'.",
                ["reason"],
                registry=registry,
            ),
            RejectionReason,
        )
        self.transaction = Histogram(
            "tidemill_curation_transaction_seconds",
            "One transaction: judge a poll's records, write outputs and offsets.",
            buckets=TRANSACTION_SECONDS,
            registry=registry,
        )
        self.labeled = WindowMetrics(registry, "tidemill", "Curated reviews")
        self.unlabeled = WindowMetrics(registry, "tidemill_unlabeled", "Unlabelled reviews")
        self.untrainable = Counter(
            "tidemill_windows_untrainable_total",
            "Closed windows that are not learned from; the manifest says why.",
            registry=registry,
        )

    def of(self, manifest: type[Event]) -> WindowMetrics:
        """Those of the windower that publishes such manifests."""
        return self.labeled if manifest is ClosedWindow else self.unlabeled

    def closed(self, window: ClosedWindow | UnlabeledWindow) -> None:
        """Counts a window that was published."""
        metrics = self.of(type(window))
        metrics.windows.labels(window.trigger.value).inc()
        for row in window.set_aside:
            metrics.set_aside.labels(row.reason.value).inc()
        if isinstance(window, ClosedWindow) and not window.trainable:
            self.untrainable.inc()


class JobMetrics:
    """The jobs of one kind of training."""

    def __init__(self, registry: CollectorRegistry, kind: str, loss: str) -> None:
        """Args: kind: part of the names. loss: what the loss is, with its unit."""
        name = f"tidemill_{kind}"
        self.steps = Counter(f"{name}_steps_total", "Optimiser steps.", registry=registry)
        self.loss = Gauge(f"{name}_loss_ratio", f"Latest {loss}.", registry=registry)
        self.progress = Gauge(f"{name}_progress_ratio", "Of the job under way; 0 when idle.", registry=registry)
        self.rows_per_second = Gauge(f"{name}_rows_per_second", "Reviews learned a second, latest.", registry=registry)
        self.seconds = Histogram(
            f"{name}_seconds",
            "One job from launch to registered version.",
            buckets=(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600),
            registry=registry,
        )
        self.attempts_failed = Counter(
            f"{name}_attempts_failed_total", "Jobs that ended without a model.", registry=registry
        )


class RetrainerMetrics:
    """Training on labelled windows, and adapting the base to unlabelled text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.training = JobMetrics(registry, "training", "training loss (nats per row)")
        self.candidates = _start_at_zero(
            Counter("tidemill_candidates_total", "Windows by how training ended.", ["status"], registry=registry),
            CandidateStatus,
        )
        self.adaptation = JobMetrics(registry, "adaptation", "loss of a domain adaptation (nats per guessed token)")
        self.base_candidates = _start_at_zero(
            Counter(
                "tidemill_base_candidates_total", "Domain adaptations by how they ended.", ["status"], registry=registry
            ),
            (CandidateStatus.READY, CandidateStatus.FAILED),
        )


class EvaluatorMetrics:
    """The gate and what is in service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verdicts = _start_at_zero(
            Counter(
                "tidemill_gate_verdicts_total",
                "Decisions. Only 'undecided' grows: the hold-out is too small for the margin.",
                ["verdict"],
                registry=registry,
            ),
            Verdict,
        )
        self.quarantined = Counter(
            "tidemill_windows_quarantined_total", "Windows distrusted as a whole.", registry=registry
        )
        self.champion_version = Gauge(
            "tidemill_champion_version", "Model version in service by the ledger; 0: none.", registry=registry
        )
        self.champion_metric = Gauge(
            "tidemill_champion_quality_ratio",
            "The champion's metrics at its promotion.",
            ["metric", "rows"],
            registry=registry,
        )
        self.ledger_number = Gauge("tidemill_ledger_number", "Latest entry of the ledger.", registry=registry)
        self.waiting = Gauge(
            "tidemill_challengers_waiting", "Undecided challengers that wait for more held-out rows.", registry=registry
        )
        self.alias_repairs = Counter(
            "tidemill_alias_repairs_total",
            "Times the registry's alias was not what the ledger says. Rising: someone else moves it.",
            registry=registry,
        )
        self.rows_scored = Counter("tidemill_rows_scored_total", "Rows that a model was asked.", registry=registry)
        self.scoring_seconds = Histogram(
            "tidemill_evaluation_seconds",
            "One candidate from arrival to decision.",
            buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900),
            registry=registry,
        )


class BasesMetrics:
    """The gate of adapted bases."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verdicts = Counter(
            "tidemill_base_verdicts_total",
            "Decisions about adapted bases. Only 'undecided' grows: the hold-outs are too small for the margin.",
            ["verdict"],
            registry=registry,
        )
        for verdict in (Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED):
            self.verdicts.labels(verdict.value)
        self.version = Gauge(
            "tidemill_base_version",
            "Adapted base that trainings may start from, by its ledger; 0: the configured base.",
            registry=registry,
        )
        self.ledger_number = Gauge(
            "tidemill_base_ledger_number", "Latest entry of the ledger of bases.", registry=registry
        )
        self.perplexity = Gauge(
            "tidemill_base_perplexity_ratio",
            "On held-out unlabelled reviews, of the base decided on last and of its parent. Lower is better.",
            ["base"],
            registry=registry,
        )
        self.accuracy = Gauge(
            "tidemill_base_probe_accuracy_ratio",
            "Right answers on held-out labelled reviews, once fine-tuned, of the base decided on last and its parent.",
            ["base"],
            registry=registry,
        )
        self.alias_repairs = Counter(
            "tidemill_base_alias_repairs_total",
            "Times the registry's alias was not what the ledger of bases says. Rising: someone else moves it.",
            registry=registry,
        )
        self.scoring_seconds = Histogram(
            "tidemill_base_evaluation_seconds",
            "One adapted base from arrival to decision.",
            buckets=(1, 5, 10, 30, 60, 120, 300, 900, 1800, 3600),
            registry=registry,
        )


class MonitorMetrics:
    """What is in service, on reviews that it has never seen."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accuracy = Gauge(
            "tidemill_prequential_accuracy_ratio",
            "Right answers on fresh labelled reviews, before anything learns from them: since the champion's "
            "promotion, or on the latest evaluator.monitor.recent_rows.",
            ["model", "span"],
            registry=registry,
        )
        self.rows = Gauge(
            "tidemill_prequential_rows", "Fresh labelled reviews behind it, since the promotion.", registry=registry
        )
        self.waiting = Gauge(
            "tidemill_monitor_waiting_rows",
            "Fresh reviews not scored yet, of the next batch. At its bound for long: lower evaluator.monitor.sample.",
            registry=registry,
        )
        self.evidence = Gauge(
            "tidemill_watch_evidence_ratio",
            "Evidence that the champion is worse than an earlier version, as a share of what rolls it back.",
            ["model"],
            registry=registry,
        )
        self.distrusted = Gauge(
            "tidemill_watch_distrusted_rows",
            "Fresh reviews that count for nothing, since no model got most of their batch right. Look at the labels.",
            registry=registry,
        )
        self.rollbacks_asked = Counter(
            "tidemill_watch_rollbacks_asked_total", "Champions proven worse and asked to go.", registry=registry
        )
        self.rollbacks_held = Gauge(
            "tidemill_watch_rollbacks_held_info",
            "1 while a champion is proven worse, and evaluator.monitor.rollbacks_per_day keeps it.",
            registry=registry,
        )
        self.drifts = Counter(
            "tidemill_drifts_total", "Times the champion's errors rose by more than chance explains.", registry=registry
        )
        self.input_drift = Gauge(
            "tidemill_input_drift_ratio",
            "Distance of the latest labelled texts from those before the champion's promotion; 0: the same, 1: nothing "
            "in common. Rises before accuracy falls: look at what is published, and label some of it.",
            ["trait"],
            registry=registry,
        )
        self.feedback = _start_at_zero(
            Counter(
                "tidemill_feedback_joined_total",
                "Labels of served answers by what became of them, and answers that stayed without.",
                ["outcome"],
                registry=registry,
            ),
            FeedbackOutcome,
        )
        self.served_accuracy = Gauge(
            "tidemill_served_accuracy_ratio",
            "Right answers among the served ones whose labels came, of those kept.",
            ["version"],
            registry=registry,
        )
        self.expected_accuracy = Gauge(
            "tidemill_expected_accuracy_ratio",
            "Accuracy of the latest served answers as their calibrated scores promise, without any label.",
            registry=registry,
        )
        self.answer_share = Gauge(
            "tidemill_answer_share_ratio", "Of the latest served answers, by label.", ["label"], registry=registry
        )


class CanaryMetrics:
    """Answers by version and role, and a challenger beside the champion."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.version = Gauge(
            "tidemill_canary_version", "Challenger loaded beside the champion; 0: none.", registry=registry
        )
        self.share = Gauge(
            "tidemill_canary_share_ratio",
            "Of callers whom a canary answers, or of texts that a shadow is asked.",
            ["role"],
            registry=registry,
        )
        self.switched_off = Counter(
            "tidemill_canaries_switched_off_total",
            "Challengers that this replica ended because they failed too often. Look at its log, and reject or order.",
            registry=registry,
        )
        self.copies_dropped = Counter(
            "tidemill_canary_copies_dropped_total",
            "Texts not compared: the model never rested, or the challenger takes too long. Rising: compare fewer.",
            registry=registry,
        )
        self._answers = Counter(
            "tidemill_version_answers_total", "Texts answered to callers.", ["version", "role"], registry=registry
        )
        self._seconds = Histogram(
            "tidemill_version_request_seconds",
            "From question to answers within the engine, waiting included.",
            ["version", "role"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self._passed_over = Counter(
            "tidemill_canary_passed_over_total",
            "Requests that the champion answered at once: after the canary it might be too late. Most: it is too slow.",
            ["version"],
            registry=registry,
        )
        self._failures = Counter(
            "tidemill_version_failures_total",
            "Requests on which a canary failed or that it had not ended in time, and texts that were not compared so.",
            ["version", "role"],
            registry=registry,
        )
        self._compared = Counter(
            "tidemill_canary_compared_texts_total",
            "Texts that champion and challenger were both asked, alone.",
            ["version"],
            registry=registry,
        )
        self._disagreements = Counter(
            "tidemill_canary_disagreements_total", "Of these: the labels differ.", ["version"], registry=registry
        )
        self._difference = Counter(
            "tidemill_canary_score_difference_total",
            "Of these: sum of absolute differences in the probability of the champion's label. Mean: by texts.",
            ["version"],
            registry=registry,
        )
        self._compared_seconds = Counter(
            "tidemill_canary_compared_seconds_total",
            "That each took for those that both computed by one plan; role: the challenger's, or champion. "
            "Ratio: latency of challenger by champion.",
            ["version", "role"],
            registry=registry,
        )

    def answered(self, version: str, role: ServingRole, texts: int, seconds: float) -> None:
        """One request was answered."""
        self._answers.labels(version, role.value).inc(texts)
        self._seconds.labels(version, role.value).observe(seconds)

    def passed_over(self, version: str) -> None:
        """A canary was not asked, for want of time."""
        self._passed_over.labels(version).inc()

    def failed(self, version: str, role: ServingRole) -> None:
        """A challenger did not answer what it was asked."""
        self._failures.labels(version, role.value).inc()

    def compared(
        self,
        version: str,
        role: ServingRole,
        *,
        agrees: bool,
        difference: float,
        seconds: float,
        champion_seconds: float,
        is_timed: bool,
    ) -> None:
        """One text was answered by both. Args: version, role: the challenger's. is_timed: seconds are comparable."""
        self._compared.labels(version).inc()
        self._disagreements.labels(version).inc(not agrees)
        self._difference.labels(version).inc(difference)
        if not is_timed:
            return
        self._compared_seconds.labels(version, role.value).inc(seconds)
        self._compared_seconds.labels(version, ServingRole.CHAMPION.value).inc(champion_seconds)

    def keep(self, versions: Collection[str]) -> None:
        """Removes the series of all other versions."""
        of_answers = (self._answers, self._seconds, self._failures, self._passed_over)
        of_pairs = (self._compared, self._disagreements, self._difference, self._compared_seconds)
        for metric in (*of_answers, *of_pairs):
            _keep(metric, versions)


class ServerMetrics:
    """Answers and swaps."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.canary = CanaryMetrics(registry)
        self.requests = _start_at_zero(
            Counter(
                "tidemill_requests_total",
                "Prediction requests by protocol and outcome; each line of a bulk stream is one.",
                ["protocol", "outcome"],
                registry=registry,
            ),
            InferenceProtocol,
            RequestOutcome,
        )
        self.refused = _start_at_zero(
            Counter(
                "tidemill_requests_refused_total",
                "Requests refused for their key. 'wrong_key' rising: a key was changed, or somebody guesses.",
                ["reason"],
                registry=registry,
            ),
            Refusal,
        )
        self.latency = Histogram(
            "tidemill_request_seconds",
            "Prediction requests answered with 200, from the first byte read to the answer, by protocol.",
            ["protocol"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "tidemill_batch_rows", "Texts of one model call.", buckets=BATCH_ROWS, registry=registry
        )
        self.queue = Gauge("tidemill_queue_texts", "Texts waiting for the model.", registry=registry)
        self.queue_tokens = Gauge("tidemill_queue_tokens", "Estimated tokens of them.", registry=registry)
        self.expected_wait = Gauge(
            "tidemill_expected_wait_seconds", "Until all that waits will be answered, as learned.", registry=registry
        )
        self.tokens = Counter("tidemill_tokens_total", "Tokens that the model read.", registry=registry)
        self.truncated = Counter(
            "tidemill_truncated_texts_total", "Texts longer than the model reads.", registry=registry
        )
        self.predictions = Counter(
            "tidemill_predictions_total", "Texts answered by version.", ["version"], registry=registry
        )
        self.served_version = Gauge(
            "tidemill_served_version", "Model version that answers; 0: none.", registry=registry
        )
        self.phase = Gauge("tidemill_server_phase_info", "1 for the phase of the model.", ["phase"], registry=registry)
        for phase in ServerPhase:
            self.phase.labels(phase.value).set(0)
        self.reachable = Gauge(
            "tidemill_reachable_info",
            "1 while it answers. 0: the server answers on, and misses new decisions; /readyz says what is wrong.",
            ["dependency"],
            registry=registry,
        )
        for dependency in Dependency:
            self.reachable.labels(dependency.value).set(0)
        self.plan = Gauge(
            "tidemill_plan_info", "1 for the plan by which the model answers.", ["plan"], registry=registry
        )
        self.swaps = _start_at_zero(
            Counter("tidemill_swaps_total", "New champions taken over, or not.", ["outcome"], registry=registry),
            SwapOutcome,
        )
        self.swap_seconds = Histogram(
            "tidemill_swap_seconds",
            "From the decision read to the first answer possible.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=registry,
        )
        self.freshness = Histogram(
            "tidemill_freshness_seconds",
            "From a window's newest label published to its model in service.",
            buckets=FRESHNESS_SECONDS,
            registry=registry,
        )
        self.predictions_dropped = Counter(
            "tidemill_served_predictions_dropped_total",
            "Samples that did not reach predictions.served. Answers are not affected.",
            registry=registry,
        )
        self.feedback = Counter("tidemill_feedback_total", "Labels received for served predictions.", registry=registry)

    def keep_versions(self, versions: Collection[str]) -> None:
        """Removes the series of all other versions: else each that ever served would be scraped until a restart."""
        _keep(self.predictions, versions)
        self.canary.keep(versions)

    def request_ended(self, protocol: InferenceProtocol, outcome: RequestOutcome, seconds: float) -> None:
        """Counts a prediction request, and times it if it was answered."""
        self.requests.labels(protocol.value, outcome.value).inc()
        if outcome is RequestOutcome.OK:
            self.latency.labels(protocol.value).observe(seconds)
