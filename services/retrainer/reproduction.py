"""Trains a registered version again from its record: `python -m services.retrainer.reproduction VERSION PARENT_PID`.

Everything happens in a folder of its own, HOME/reproduce/STREAM/VERSION; nothing is registered or published. The last
line of standard output is the report; an error is one line on standard error and an exit code.
"""

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog
from filelock import FileLock, Timeout
from pydantic import ValidationError

from services.retrainer.environment import Environment
from services.retrainer.launcher import Job
from services.retrainer.likeness import Difference, Likeness, Part, compare, environment_differences
from services.retrainer.machine import examine
from services.retrainer.parents import BASES, PARENTS
from services.retrainer.plan import Plan
from services.retrainer.preparation import Preparation
from services.retrainer.progress import Point
from services.retrainer.recovery import RecoveringArchive
from services.retrainer.run_log import WINDOWS_FOLDER
from services.retrainer.runs import RunFolder, TrainingResult
from shared.classifier.digest import verify
from shared.classifier.probe import KNOWN_QUESTIONS
from shared.errors import (
    ConfigurationError,
    ExitCode,
    FatalError,
    ModelError,
    RetryableError,
    TidemillError,
    TrainingError,
)
from shared.events import ClosedWindow
from shared.lineage import Lineage, code_version
from shared.logs import configure_logging
from shared.processes import die_with_parent
from shared.registry import Registry
from shared.settings import Settings, load_settings

log = structlog.get_logger("reproduction")
FOLDER = "reproduce"
LOOK_SECONDS, LOG_SECONDS = 0.2, 10.0


class Reproduction(Part):
    """What came of it."""

    version: str
    identical: bool
    """The files have the digest that was registered, so the weights are bit-identical."""
    digest_then: str
    digest_now: str
    likeness: Likeness | None = None
    not_compared_because: str | None = None
    differences: tuple[Difference, ...]
    recovered_windows: tuple[str, ...]
    """Their snapshots are gone; their rows were read from `reviews.curated`, and counted, but have no digest."""
    rows: int
    seconds: float
    folder: Path


@dataclass(frozen=True)
class Registered:
    """What the registry holds about the version."""

    version: str
    run_id: str
    lineage: Lineage
    plan: Plan
    environment: Environment
    windows: tuple[ClosedWindow, ...]


def reproduce(settings: Settings, version: str) -> Reproduction:
    """Trains the version's plan again on the same rows from the same start, and compares.

    Raises:
        ConfigurationError: No such version, or it is being reproduced already.
        SnapshotError: A window's rows are altered or gone.
        ModelError: The weights that it started from are gone or others; its plan is not the one registered.
        TrainingError: The job failed.
        RetryableError: Kafka, MLflow or the archive does not answer.
    """
    folder = settings.home.resolve() / FOLDER / settings.stream.folder / version
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f"{version}.lock"), timeout=0):
            shutil.rmtree(folder, ignore_errors=True)  # a job would go on from the checkpoints of another time
            return _reproduced(settings, version, folder)
    except Timeout as error:
        raise ConfigurationError(f"version {version} is being reproduced already, in {folder}") from error


def _reproduced(settings: Settings, version: str, folder: Path) -> Reproduction:
    registry = Registry(settings)
    record = read_record(registry, version, folder / "record")
    archive = RecoveringArchive(settings, record.windows)
    run = RunFolder(folder)
    result, seconds = _trained(run, record, _preparation(settings, record, archive, registry, folder), settings)
    report = _report(record, run, result, registry, tuple(archive.recovered), seconds)
    run.drop_heavy_parts()
    for scratch in (PARENTS, BASES, "registered", "record"):
        shutil.rmtree(folder / scratch, ignore_errors=True)
    run.write(folder / "reproduction.json", report)
    return report


def read_record(registry: Registry, version: str, folder: Path) -> Registered:
    """Fetches plan, environment and manifests of a version's run.

    Raises:
        ConfigurationError: There is no such version, or it names no run.
        ModelError: The plan is not the one that was registered.
    """
    found = registry.version(version)
    if found is None or found.run_id is None:
        known = ", ".join(each.version for each in registry.versions()) or "none"
        raise ConfigurationError(f"version {version} is not in the registry with its run; there are: {known}")
    lineage = Lineage.from_tags(found.tags)
    folder.mkdir(parents=True, exist_ok=True)
    windows = registry.fetch(found.run_id, WINDOWS_FOLDER, folder)
    return Registered(
        version=version,
        run_id=found.run_id,
        lineage=lineage,
        plan=verified_plan(registry.fetch(found.run_id, "plan.json", folder).read_bytes(), lineage.plan_sha256),
        environment=Environment.model_validate_json(
            registry.fetch(found.run_id, "environment.json", folder).read_bytes()
        ),
        windows=tuple(ClosedWindow.model_validate_json(file.read_bytes()) for file in sorted(windows.glob("*.json"))),
    )


def verified_plan(content: bytes, sha256: str) -> Plan:
    """The plan, if it is the one with that digest.

    Raises:
        ModelError: It was altered, or written by a version of Tidemill that knows more than this one.
    """
    # Of the content and not of what we read from it: a field that came with a later version is no alteration.
    canonical = json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = hashlib.sha256(canonical.encode()).hexdigest()
    if found != sha256:
        raise ModelError(f"plan.json of the run was altered: its digest is {found}, the version was tagged {sha256}")
    try:
        return Plan.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"plan.json of the run is not of this version of Tidemill: {error}") from error


def _preparation(
    settings: Settings, record: Registered, archive: RecoveringArchive, registry: Registry, folder: Path
) -> Preparation:
    """The retrainer's own, under the settings that the version was trained with."""
    start = record.plan.start
    model = settings.model.model_copy(
        update={"base": start.base, "base_revision": start.base_revision, "threads": record.environment.threads}
    )
    # A home of its own, since the retrainer keeps the weights of one parent only, and may be using another now.
    then = settings.model_copy(update={"home": folder, "model": model, "training": record.plan.training})
    machine = examine(then)
    from_configured = start.version is None and start.adapted_base is None
    if from_configured and machine.base_digest != start.base_digest:
        raise ModelError(
            f"base {start.base} is not the one that version {record.version} started from: its digest is "
            f"{machine.base_digest}, expected {start.base_digest}"
        )
    bases = Registry(settings, model=settings.stream.registered_base)
    return Preparation(then, archive, registry, bases, machine)


def _trained(
    run: RunFolder, record: Registered, preparation: Preparation, settings: Settings
) -> tuple[TrainingResult, float]:
    plan = record.plan
    run.write(run.plan_file, plan)
    preparation.furnish(run, plan)
    log.info("training", version=record.version, new_rows=plan.new_rows, replay_rows=plan.replay_rows)
    with closing(Watched(Job(run, settings.training.timeout_seconds))) as watched:
        watched.wait()
        seconds = watched.job.seconds
    result = run.result()
    if result is None:
        raise TrainingError(f"{run.path}: the job left no result")
    return result, seconds


class Watched:
    """A job that is waited for, and ended if nobody waits any more."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._never = threading.Event()

    def wait(self) -> None:
        """Raises TrainingError if the job fails; logs how far it is."""
        logged_at = 0.0
        while (end := self.job.poll()) is None:
            points = [entry for entry in self.job.progress() if isinstance(entry, Point)]
            if points and self.job.seconds - logged_at >= LOG_SECONDS:
                logged_at = self.job.seconds
                log.info("trained", step=points[-1].step, of=points[-1].total_steps, loss=round(points[-1].loss, 4))
            self._never.wait(LOOK_SECONDS)
        if end.reason is not None:
            raise TrainingError(f"training it again failed: {end.reason}")

    def close(self) -> None:
        """Ends the job if it still runs."""
        self.job.terminate()


def _report(
    record: Registered,
    run: RunFolder,
    result: TrainingResult,
    registry: Registry,
    recovered: tuple[str, ...],
    seconds: float,
) -> Reproduction:
    identical = result.model_digest == record.lineage.model_digest
    likeness, why_not = (None, None) if identical else _likeness(record, run, registry)
    return Reproduction(
        version=record.version,
        identical=identical,
        digest_then=record.lineage.model_digest,
        digest_now=result.model_digest,
        likeness=likeness,
        not_compared_because=why_not,
        differences=_differences(record, run),
        recovered_windows=recovered,
        rows=record.plan.new_rows + record.plan.replay_rows,
        seconds=round(seconds, 3),
        folder=run.path,
    )


def _likeness(record: Registered, run: RunFolder, registry: Registry) -> tuple[Likeness | None, str | None]:
    """Against the registered weights, if they are still there."""
    texts = [*KNOWN_QUESTIONS, *(row.text for row in run.rows("calibration"))]
    registered = run.path / "registered"
    try:
        registry.download(record.version, registered)
        verify(registered, record.lineage.model_digest)
    except ModelError as error:
        return None, str(error)
    return compare(registered, run.model, texts), None


def _differences(record: Registered, run: RunFolder) -> tuple[Difference, ...]:
    then, now = record.lineage.code_version, code_version()
    code = () if then == now else (Difference(what="code", then=then, now=now),)
    environment = Environment.model_validate_json(run.environment_file.read_bytes())
    return (*code, *environment_differences(record.environment, environment))


def main(arguments: Sequence[str]) -> None:
    """Reproduces one version for the process that asks."""
    die_with_parent(int(arguments[1]))
    try:
        settings = load_settings()
        configure_logging(settings.service, "reproduction")
        print(reproduce(settings, arguments[0]).model_dump_json())
    except TidemillError as error:
        print(f"tidemill: {error}", file=sys.stderr)
        sys.exit(_exit_code(error))


def _exit_code(error: TidemillError) -> int:
    if isinstance(error, FatalError):
        return error.exit_code
    return ExitCode.UNREACHABLE if isinstance(error, RetryableError) else ExitCode.CRASHED


if __name__ == "__main__":
    main(sys.argv[1:])
