"""Brings a finished adaptation into the registry: one run and one version of the base, with all that explains it."""

from collections.abc import Iterable, Sequence

import structlog

from services.retrainer.adaptation.folder import AdaptationFolder, AdaptationResult
from services.retrainer.adaptation.plan import AdaptationPlan
from services.retrainer.progress import ProgressReader, curve
from services.retrainer.registration import refuse_other_rows
from services.retrainer.run_log import RunLog, loss_series
from shared.classifier.digest import verify
from shared.errors import TrainingError
from shared.events import AdaptationMetrics, BaseCandidate, CandidateStatus, ClosedWindow, UnlabeledWindow, utc_now
from shared.exam import EXAM_FOLDER
from shared.lineage import BaseLineage
from shared.registry import ModelVersion, Registry

log = structlog.get_logger("retrainer")


class BaseRegistration:
    """Registers adapted bases. Each step finds what an interrupted one left, so all may be repeated."""

    def __init__(self, bases: Registry) -> None:
        """Args: bases: the registry, speaking of the base."""
        self._bases, self._log = bases, RunLog(bases)

    def find(self, windows: Sequence[UnlabeledWindow], run: AdaptationFolder) -> BaseCandidate | None:
        """The candidate of a version that is registered already, even if its run folder is gone.

        Args: windows: the newest names the version. run: their folder, empty or not.
        Raises:
            ConfigurationError: The version of that name learned other texts.
            RegistryUnavailableError: Try again later.
        """
        newest = windows[-1]
        version = self._bases.version_of_window(newest.window_id)
        if version is None:
            return None
        lineage = BaseLineage.from_tags(version.tags)
        refuse_other_rows(version, lineage, newest.window_id, newest.snapshot)
        # A kill between registering and ending leaves the run open; ending it again changes only when it ended.
        if version.run_id is not None:
            self._bases.end_run(version.run_id)
        result = run.result()
        same = result is not None and result.model_digest == lineage.model_digest
        return candidate_of(newest.window_id, version, result.metrics if result and same else None)

    def register(self, run: AdaptationFolder, windows: Iterable[UnlabeledWindow | ClosedWindow]) -> BaseCandidate:
        """Logs the run and registers its model.

        Args: windows: the manifests of all windows that gave rows.
        Raises:
            TrainingError: The run folder holds no finished run.
            ModelError: The files changed since the job wrote them.
            RegistryUnavailableError: Try again later.
        """
        plan, result = run.plan(), run.result()
        if plan is None or result is None:
            raise TrainingError(f"{run.path}: no finished adaptation there")
        verify(run.model, result.model_digest)
        verify(run.exam, result.exam_digest)
        run_id = self._bases.run_of_window(plan.window_id, f"adapt base to {plan.window_id}")
        self._log.numbers(run_id, parameters(plan), measurements(result), result.metrics.steps)
        self._log.series(run_id, loss_series(curve(ProgressReader(run.progress_file).news())))
        self._log.files(run_id, run)
        self._log.manifests(run_id, windows)
        version = self._register_model(run_id, run, plan, result)
        self._bases.end_run(run_id)
        log.info("base_registered", window_id=plan.window_id, version=version.version, run=self._bases.run_url(run_id))
        return candidate_of(plan.window_id, version, result.metrics)

    def _register_model(
        self, run_id: str, run: AdaptationFolder, plan: AdaptationPlan, result: AdaptationResult
    ) -> ModelVersion:
        self._bases.upload(run_id, run.exam, EXAM_FOLDER)
        source = self._bases.upload_model(run_id, run.model)
        tags = lineage_of(plan, result).to_tags()
        self._bases.set_run_tags(run_id, tags)
        return self._bases.register(plan.window_id, run_id, source, tags)


def candidate_of(window_id: str, version: ModelVersion, metrics: AdaptationMetrics | None) -> BaseCandidate:
    """What to announce: by the version's own tags, since another attempt than ours may have registered it."""
    lineage = BaseLineage.from_tags(version.tags)
    return BaseCandidate(
        window_id=window_id,
        window_ids=lineage.window_ids,
        status=CandidateStatus.READY,
        version=version.version,
        run_id=version.run_id,
        model_digest=lineage.model_digest,
        exam_digest=lineage.exam_digest,
        parent_version=lineage.parent_version,
        base_digest=lineage.base_digest,
        probe_window_ids=lineage.probe_window_ids,
        metrics=metrics,
        created_at=utc_now(),
    )


def lineage_of(plan: AdaptationPlan, result: AdaptationResult) -> BaseLineage:
    """Where the base came from."""
    return BaseLineage(
        window_ids=plan.window_ids,
        offset_ranges=tuple((window.first_offset, window.last_offset) for window in plan.windows),
        snapshot_sha256s=tuple(window.snapshot.sha256 for window in plan.windows),
        replay_window_ids=plan.replay_window_ids,
        probe_window_ids=plan.probe_window_ids,
        parent_version=plan.start.version,
        base=plan.start.base,
        base_digest=plan.start.base_digest,
        seed=plan.seed,
        normaliser_version=plan.split.normaliser_version,
        split=plan.split,
        model_digest=result.model_digest,
        exam_digest=result.exam_digest,
        code_version=plan.code_version,
        plan_sha256=plan.sha256(),
        newest_published_at=plan.newest_published_at,
    )


def parameters(plan: AdaptationPlan) -> dict[str, object]:
    """The run's parameters: what two adaptations may be compared by."""
    settings = {f"adaptation.{name}": value for name, value in plan.adaptation.model_dump(mode="json").items()}
    return settings | {
        "base": plan.start.base,
        "parent_version": plan.start.version or "none",
        "device": plan.hardware.device,
        "precision": plan.hardware.precision,
        "seed": plan.seed,
        "batch_rows": plan.training.batch_rows,
        "max_tokens": plan.training.max_tokens,
        "new_rows": plan.new_rows,
        "replay_rows": plan.replay_rows,
        "probe_rows": plan.probe_rows,
        "windows": len(plan.windows),
        "replay_windows": len(plan.replay),
    }


def measurements(result: AdaptationResult) -> dict[str, float]:
    """The run's final metrics; perplexities beside the losses, for people."""
    numbers = {name: float(value) for name, value in result.metrics.model_dump(exclude_none=True).items()}
    numbers |= {f"perplexity_{when}": value for when, value in result.perplexities().items()}
    counts = {"head_steps": result.head_steps, "validation_rows": result.validation_rows, "guesses": result.guesses}
    return numbers | {name: float(count) for name, count in counts.items()}
