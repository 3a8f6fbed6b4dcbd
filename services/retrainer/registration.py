"""Brings a finished run into the registry: one run and one version a window, with everything that explains it."""

from collections.abc import Sequence

import structlog

from services.retrainer.plan import Plan
from services.retrainer.progress import ProgressReader, curve
from services.retrainer.run_log import RunLog, loss_series
from services.retrainer.runs import RunFolder, TrainingResult
from shared.classifier.digest import verify
from shared.errors import ConfigurationError, TrainingError
from shared.events import Candidate, CandidateStatus, ClosedWindow, Snapshot, TrainingMetrics, utc_now
from shared.label_quality import LabelQuality
from shared.lineage import AnyLineage, Lineage
from shared.registry import ModelVersion, Registry

log = structlog.get_logger("retrainer")


class Registration:
    """Registers runs. Each step finds what an interrupted one left, so all may be repeated."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._log = registry, RunLog(registry)

    def find(self, windows: Sequence[ClosedWindow], run: RunFolder) -> Candidate | None:
        """The candidate of a version that is registered already, even if its run folder is gone.

        Args: windows: as delivered; the newest names the version. run: their folder, empty or not.
        Raises:
            ConfigurationError: The version of that name learned other rows.
            RegistryUnavailableError: Try again later.
        """
        window_id = windows[-1].window_id
        version = self._registry.version_of_window(window_id)
        if version is None:
            return None
        refuse_other_rows(version, Lineage.from_tags(version.tags), window_id, windows[-1].snapshot)
        return self._ended(window_id, version, run)

    def find_rebuild(self, name: str, run: RunFolder) -> Candidate | None:
        """The same for a rebuild: its name comes once only, so that its rows need no look.

        Raises:
            RegistryUnavailableError: Try again later.
        """
        version = self._registry.version_of_window(name)
        return None if version is None else self._ended(name, version, run)

    def _ended(self, name: str, version: ModelVersion, run: RunFolder) -> Candidate:
        # A kill between registering and ending leaves the run open; ending it again changes only when it ended.
        if version.run_id is not None:
            self._registry.end_run(version.run_id)
        return candidate_of(name, version, _metrics_of(version, run.result()))

    def register(self, run: RunFolder, windows: Sequence[ClosedWindow]) -> Candidate:
        """Logs the run and registers its model.

        Args: windows: the manifests of the plan's new and replayed windows.
        Raises:
            TrainingError: The run folder holds no finished run.
            ModelError: The model's files changed since the job wrote them.
            RegistryUnavailableError: Try again later.
        """
        plan, result = run.plan(), run.result()
        if plan is None or result is None:
            raise TrainingError(f"{run.path}: no finished run there")
        verify(run.model, result.model_digest)
        run_id = self._registry.run_of_window(plan.window_id, f"train {plan.window_id}")
        self._log.numbers(run_id, parameters(plan), measurements(result), result.metrics.steps)
        self._log.series(run_id, loss_series(curve(ProgressReader(run.progress_file).news())))
        self._log_quality(run_id, run)
        self._log.files(run_id, run)
        self._log.manifests(run_id, windows)
        version = self._register_model(run_id, run, plan, result)
        self._registry.end_run(run_id)
        log.info("registered", window_id=plan.window_id, version=version.version, run=self._registry.run_url(run_id))
        return candidate_of(plan.window_id, version, result.metrics)

    def record_look(self, run: RunFolder, windows: Sequence[ClosedWindow]) -> str:
        """Keeps what was found wrong with a window's labels, in a run of its own, since there will be no model.

        Args: windows: the manifests of the plan's new windows.
        Returns: The run's id.
        Raises:
            TrainingError: The run folder holds no plan.
            RegistryUnavailableError: Try again later.
        """
        plan = run.plan()
        if plan is None:
            raise TrainingError(f"{run.path}: no plan there")
        run_id = self._registry.run_of_window(plan.window_id, f"look at labels of {plan.window_id}")
        self._log_quality(run_id, run)
        self._registry.log_file(run_id, run.plan_file)
        self._log.manifests(run_id, windows)
        self._registry.end_run(run_id)
        log.info("look_recorded", window_id=plan.window_id, run=self._registry.run_url(run_id))
        return run_id

    def _log_quality(self, run_id: str, run: RunFolder) -> None:
        if (quality := run.quality()) is not None:
            self._registry.log_metrics(run_id, suspicion(quality))
            self._registry.log_file(run_id, run.quality_file)

    def _register_model(self, run_id: str, run: RunFolder, plan: Plan, result: TrainingResult) -> ModelVersion:
        source = self._registry.upload_model(run_id, run.model)
        tags = lineage_of(plan, result).to_tags()
        self._registry.set_run_tags(run_id, tags)
        return self._registry.register(plan.window_id, run_id, source, tags)


def refuse_other_rows(version: ModelVersion, lineage: AnyLineage, window_id: str, snapshot: Snapshot) -> None:
    """The names of windows begin again with a new Kafka, while the registry may have stayed.

    Raises: ConfigurationError if the version that is named after the window did not learn that snapshot.
    """
    if snapshot.sha256 not in lineage.snapshot_sha256s:
        raise ConfigurationError(
            f"version {version.version} in the registry is named after {window_id}, but learned other rows than that "
            "window holds: the registry holds a model of another stream under this name; use another stream.prefix, "
            "or another registry"
        )


def _metrics_of(version: ModelVersion, result: TrainingResult | None) -> TrainingMetrics | None:
    """What the run folder says, if that model is the registered one."""
    same = result is not None and result.model_digest == Lineage.from_tags(version.tags).model_digest
    return result.metrics if result and same else None


def candidate_of(window_id: str, version: ModelVersion, metrics: TrainingMetrics | None) -> Candidate:
    """What to announce: by the version's own tags, since another attempt than ours may have registered it."""
    lineage = Lineage.from_tags(version.tags)
    return Candidate(
        window_id=window_id,
        window_ids=lineage.window_ids,
        status=CandidateStatus.READY,
        version=version.version,
        run_id=version.run_id,
        model_digest=lineage.model_digest,
        parent_version=lineage.parent_version,
        replay_window_ids=lineage.replay_window_ids,
        rebuild_of=lineage.rebuild_of,
        without=lineage.without,
        base_version=lineage.base_version,
        metrics=metrics,
        created_at=utc_now(),
    )


def lineage_of(plan: Plan, result: TrainingResult) -> Lineage:
    """Where the model came from."""
    return Lineage(
        window_ids=plan.window_ids,
        offset_ranges=tuple((window.first_offset, window.last_offset) for window in plan.windows),
        snapshot_sha256s=tuple(window.snapshot.sha256 for window in plan.windows),
        replay_window_ids=replayed_windows(plan, result),
        parent_version=plan.start.version,
        averaged_versions=plan.start.averaged,
        rebuild_of=plan.rebuild.version if plan.rebuild else None,
        without=plan.without,
        base=plan.start.base,
        base_digest=plan.start.base_digest,
        base_version=plan.start.base_version,
        seed=plan.seed,
        labels=plan.labels,
        normaliser_version=plan.split.normaliser_version,
        split=plan.split,
        model_digest=result.model_digest,
        temperature=result.metrics.temperature,
        code_version=plan.code_version,
        plan_sha256=plan.sha256(),
        newest_published_at=plan.newest_published_at,
    )


def replayed_windows(plan: Plan, result: TrainingResult) -> tuple[str, ...]:
    """Earlier windows that really gave rows: of those planned, the job may have chosen."""
    if result.replay_kept is None:
        return plan.replay_window_ids
    return tuple(kept.window_id for kept in result.replay_kept)


def parameters(plan: Plan) -> dict[str, object]:
    """The run's parameters: what two trainings may be compared by."""
    settings = {f"training.{name}": value for name, value in plan.training.model_dump(mode="json").items()}
    return settings | {
        "base": plan.start.base,
        "base_version": plan.start.base_version or "none",
        "parent_version": "+".join(parent.version for parent in plan.start.parents) or "none",
        "device": plan.hardware.device,
        "precision": plan.hardware.precision,
        "seed": plan.seed,
        "new_rows": plan.new_rows,
        "replay_rows": plan.replay_rows,
        "rebuild_of": plan.rebuild.version if plan.rebuild else "none",
        "without": "; ".join(plan.without) or "nothing",
        "windows": len(plan.windows),
        "replay_windows": len(plan.replay),
        "waited_for_decision_seconds": round(plan.decision_wait.seconds, 1),
    }


def measurements(result: TrainingResult) -> dict[str, float]:
    """The run's final metrics."""
    numbers = {name: float(value) for name, value in result.metrics.model_dump().items()}
    numbers["calibration_rows"] = float(result.calibration_rows)
    numbers["validation_rows"] = float(result.validation_rows)
    if result.validation_accuracy is not None:
        numbers["validation_accuracy"] = result.validation_accuracy
    return numbers


def suspicion(quality: LabelQuality) -> dict[str, float]:
    """What the look at the labels says, as metrics of the run."""
    found = quality.report.window
    return {"suspicious_labels": float(found.suspicious), "suspicious_label_share": found.share}
