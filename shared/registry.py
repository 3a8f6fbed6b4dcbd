"""MLflow as Tidemill uses it: one run a window, one version a candidate, one alias for the champion.

The only module that imports MLflow's tracking client. Every method either succeeds, or raises
`RegistryUnavailableError` (MLflow is not there: wait and repeat) or `RegistryRefusedError` (repeating is useless), and
every method may be repeated after a crash at any point: the second time finds what the first one left.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import requests

from shared.classifier.folders import build_once
from shared.errors import ModelError, RegistryRefusedError, RegistryUnavailableError
from shared.mlflow_calls import CLIENT_ENVIRONMENT, Calls, MissingError, experiment_name, server_address
from shared.settings import Settings

os.environ.update(CLIENT_ENVIRONMENT)

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

Value = TypeVar("Value")

CHAMPION, CHALLENGER, BASE = "champion", "challenger", "base"
WINDOW_TAG = "tidemill.window_id"
RUN_TAG = "tidemill.run_of_window"  # on the one of several runs of a window that counts
CHOICE_SECONDS, CHOICE_LOOK_SECONDS = 2.0, 0.1  # for whoever made another at the same time to say which it took
DUPLICATE_TAG = "tidemill.duplicate"
WEIGHTS_TAG = "tidemill.weights"
DELETED = "deleted"
MODEL_FOLDER, DECISION_PAGE = "model", "decision/decision.html"
WEIGHT_SUFFIX = ".safetensors"
# MLflow's bounds for one request.
POINTS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
VERSIONS_PER_PAGE = 1000
# As SQLite, PostgreSQL and MySQL say it.
UNIQUENESS_BROKEN = ("UNIQUE constraint failed", "duplicate key value", "Duplicate entry")
TOO_MANY_REQUESTS, REQUEST_TIMEOUT, SERVER_ERRORS = 429, 408, 500


def rollback_page(number: int) -> str:
    """The page of a rollback among the artifacts of both versions' runs. Args: number: of its entry in the ledger."""
    return f"decision/rollback-{number}.html"


@dataclass(frozen=True)
class ModelVersion:
    """One registered model version as MLflow holds it."""

    version: str
    run_id: str | None
    source: str
    tags: dict[str, str]
    created_at: datetime

    @property
    def is_duplicate(self) -> bool:
        """Another version of the same window counts in its place."""
        return self.tags.get(DUPLICATE_TAG) == "true"

    @property
    def has_weights(self) -> bool:
        """Retention has not deleted its weights."""
        return self.tags.get(WEIGHTS_TAG) != DELETED


class Registry:
    """One stream's experiment and one of its registered models. Usable from several threads."""

    def __init__(
        self, settings: Settings, stopping: threading.Event | None = None, *, model: str | None = None
    ) -> None:
        """
        Args: stopping: once set, a call that would be retried raises `Stopped` instead. model: the registered model
            that versions and aliases are of; None: the stream's classifier.
        Raises: ConfigurationError if the tracking URI is not that of a server.
        """
        self._uri = server_address(settings)
        self._model = model or settings.stream.registered_model
        self._experiment = experiment_name(settings)
        self._calls = Calls(self._uri, settings.registry, stopping or threading.Event(), _registry_errors)
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def check(self) -> None:
        """Raises RegistryUnavailableError unless MLflow answers, at the first attempt."""
        self._calls.once("asking for an answer", lambda: self._client.search_experiments(max_results=1))

    # Runs

    def run_of_window(self, window_id: str, name: str) -> str:
        """The id of the window's one run, made if there is none yet."""
        return self._calls.repeated(f"finding the run of {window_id}", lambda: self._run(window_id, name))

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Adds parameters; MLflow refuses another value for one that is there."""
        entries = [Param(name, str(value)) for name, value in params.items()]
        for batch in _batches(entries, PARAMS_PER_BATCH):
            self._log_batch(run_id, params=batch)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Adds one point to each metric."""
        now = _milliseconds(datetime.now(UTC))
        entries = [Metric(name, value, now, step) for name, value in metrics.items()]
        for batch in _batches(entries, POINTS_PER_BATCH):
            self._log_batch(run_id, metrics=batch)

    def log_series(self, run_id: str, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Adds (step, value) points to one metric; repeating adds none twice."""
        run = self._calls.repeated(f"reading run {run_id}", lambda: self._client.get_run(run_id))
        # MLflow tells points apart by their time too; the run's start is the same whenever this is repeated.
        entries = [Metric(name, value, run.info.start_time, step) for step, value in points]
        for batch in _batches(entries, POINTS_PER_BATCH):
            self._log_batch(run_id, metrics=batch)

    def log_file(self, run_id: str, path: Path, folder: str = "") -> None:
        """Keeps a file among the run's artifacts, in place of one of the same name."""
        self._calls.transferring(
            f"uploading {path.name}", lambda: self._client.log_artifact(run_id, str(path), folder or None)
        )

    def log_text(self, run_id: str, text: str, name: str) -> None:
        """Keeps a text among the run's artifacts; `name` may hold folders."""
        self._calls.transferring(f"uploading {name}", lambda: self._client.log_text(run_id, text, name))

    def run_file(self, run_id: str, name: str) -> bytes | None:
        """One of the run's artifacts, or None if there is no such run or no such file."""
        return self._calls.if_there(f"reading {name} of run {run_id}", lambda: self._artifact(run_id, name))

    def set_run_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Sets tags; MLflow cuts values beyond 8,000 characters."""
        entries = [RunTag(name, value) for name, value in tags.items()]
        for batch in _batches(entries, PARAMS_PER_BATCH):
            self._log_batch(run_id, tags=batch)

    def end_run(self, run_id: str, failed: bool = False) -> None:
        """Marks the run as finished or failed."""
        status = "FAILED" if failed else "FINISHED"
        self._calls.repeated(f"ending run {run_id}", lambda: self._client.set_terminated(run_id, status))

    def fetch(self, run_id: str, name: str, folder: Path) -> Path:
        """Brings a file or folder of the run's artifacts into an existing folder; returns where it lies.

        Raises:
            MissingError: The run has no such artifact.
        """
        doing = f"downloading {name} of run {run_id}"
        return Path(self._calls.transferring(doing, lambda: self._client.download_artifacts(run_id, name, str(folder))))

    def delete_folder(self, run_id: str, name: str) -> None:
        """Deletes a folder of the run's artifacts; one that is not there, or whose run is not, is deleted already."""
        doing = f"deleting {name} of run {run_id}"
        run = self._calls.if_there(doing, lambda: self._client.get_run(run_id))
        if run is not None:
            store = self._store(run.info.artifact_uri)
            self._calls.transferring(doing, lambda: _delete_folder(store, name))

    def upload_model(self, run_id: str, folder: Path) -> str:
        """Keeps a model's folder among the run's artifacts; returns its URI. Repeating overwrites."""
        return self.upload(run_id, folder, MODEL_FOLDER)

    def upload(self, run_id: str, folder: Path, name: str) -> str:
        """Keeps a folder, with all below it, among the run's artifacts under a name; otherwise as `upload_model`."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            inside = PurePosixPath(name, *path.relative_to(folder).parent.parts)
            self.log_file(run_id, path, str(inside))
        run = self._calls.repeated(f"reading run {run_id}", lambda: self._client.get_run(run_id))
        return f"{run.info.artifact_uri}/{name}"

    # Versions

    def register(self, window_id: str, run_id: str, source: str, tags: Mapping[str, str]) -> ModelVersion:
        """The window's one version that counts, created with its tags if there is none yet.

        Two processes at once may create two; both then agree that the lowest counts, and the other is tagged.
        """
        tagged = {**tags, WINDOW_TAG: window_id}
        return self._calls.repeated(
            f"registering the model of {window_id}", lambda: self._found_or_created(window_id, run_id, source, tagged)
        )

    def version(self, version: str) -> ModelVersion | None:
        """One version, or None if there is no such version."""
        return self._calls.if_there(f"reading version {version}", lambda: self._read(version))

    def versions(self) -> list[ModelVersion]:
        """All versions, the newest first."""
        return self._calls.repeated(
            f"listing the versions of {self._model}", lambda: self._search(f"name='{self._model}'")
        )

    def version_of_window(self, window_id: str) -> ModelVersion | None:
        """The window's version that counts, or None."""
        return self._calls.repeated(f"finding the version of {window_id}", lambda: self._counting(window_id))

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a version, in order; a value holds up to 100,000 characters on MLflow 3, 5,000 before."""
        for name, value in tags.items():
            self._tag(version, name, value)

    # The aliases

    def champion(self) -> str | None:
        """The version that the alias `champion` names, or None."""
        return self.aliased(CHAMPION)

    def aliased(self, alias: str) -> str | None:
        """The version that an alias names, or None."""
        found = self._calls.if_there(f"reading the {alias}", lambda: self._client.get_registered_model(self._model))
        return str(found.aliases[alias]) if found and alias in found.aliases else None

    def set_alias(self, alias: str, version: str) -> None:
        """Makes an alias name a version; MissingError if there is no such version."""
        self._calls.repeated(
            f"making version {version} the {alias}",
            lambda: self._client.set_registered_model_alias(self._model, alias, version),
        )

    def clear_alias(self, alias: str) -> None:
        """Removes an alias if it is there."""
        self._calls.if_there(
            f"removing the {alias}", lambda: self._client.delete_registered_model_alias(self._model, alias)
        )

    # Files

    def download(self, version: str, folder: Path) -> Path:
        """Brings a version's files into the folder, which appears whole or not at all; if it is there, it is kept.

        Raises:
            ModelError: There is no such version, or its weights are gone.
        """
        return build_once(folder, lambda workplace: self._fetch(version, workplace))

    def delete_weights(self, version: str) -> None:
        """Deletes a version's weights; the version, its tags and its small files stay."""
        found = self._calls.repeated(f"reading version {version}", lambda: self._read(version))
        self._calls.transferring(f"deleting the weights of version {version}", lambda: self._delete_weights(found))
        self._tag(version, WEIGHTS_TAG, DELETED)

    # Addresses for people

    def run_url(self, run_id: str) -> str:
        """The run's page."""
        return f"{self._uri}/#/runs/{run_id}"

    def version_url(self, version: str) -> str:
        """The version's page."""
        return f"{self._uri}/#/models/{self._model}/versions/{version}"

    def _run(self, window_id: str, name: str) -> str:
        experiment = self._experiment_id()
        runs = self._runs(experiment, window_id)
        if not runs:
            own = self._client.create_run(experiment, run_name=name, tags={WINDOW_TAG: window_id}).info.run_id
            runs = self._runs(experiment, window_id)
            if [run.info.run_id for run in runs] == [own]:
                return self._choose(own)
        return self._chosen(experiment, window_id, runs)

    def _chosen(self, experiment: str, window_id: str, runs: list[Run]) -> str:
        """Of several that were made at once, the one that its maker saw alone; the first, if nobody did.

        Whoever sees another beside its own may be seen by a maker that looked before, so it waits for that one's word.
        """
        end = time.monotonic() + CHOICE_SECONDS
        while not any(RUN_TAG in run.data.tags for run in runs) and time.monotonic() < end:
            time.sleep(CHOICE_LOOK_SECONDS)
            runs = self._runs(experiment, window_id)
        chosen = [run.info.run_id for run in runs if RUN_TAG in run.data.tags]
        return chosen[0] if chosen else self._choose(runs[0].info.run_id)

    def _choose(self, run_id: str) -> str:
        self._client.set_tag(run_id, RUN_TAG, "yes")
        return run_id

    def _runs(self, experiment: str, window_id: str) -> list[Run]:
        """The earliest first."""
        found = self._client.search_runs([experiment], f"tags.`{WINDOW_TAG}` = '{window_id}'")
        return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))

    def _experiment_id(self) -> str:
        while (found := self._client.get_experiment_by_name(self._experiment)) is None:
            _unless_there(lambda: self._client.create_experiment(self._experiment))
        return str(found.experiment_id)

    def _artifact(self, run_id: str, name: str) -> bytes | None:
        above = PurePosixPath(name).parent
        listed = self._client.list_artifacts(run_id, str(above) if above.parts else None)
        if name not in {item.path for item in listed}:
            return None
        with TemporaryDirectory() as folder:
            return Path(self._client.download_artifacts(run_id, name, folder)).read_bytes()

    def _log_batch(self, run_id: str, **entries: Any) -> None:
        self._calls.repeated(f"logging to run {run_id}", lambda: self._client.log_batch(run_id, **entries))

    def _found_or_created(self, window_id: str, run_id: str, source: str, tags: dict[str, str]) -> ModelVersion:
        if (found := self._settled(window_id)) is not None:
            return found
        _unless_there(lambda: self._client.create_registered_model(self._model))
        self._client.create_model_version(self._model, source, run_id, tags, await_creation_for=0)
        if (created := self._settled(window_id)) is None:
            raise RegistryUnavailableError(f"the version just created for {window_id} is not listed yet")
        return created

    def _settled(self, window_id: str) -> ModelVersion | None:
        """The lowest version of the window; the others are tagged as duplicates, by whoever comes by."""
        counting, *others = [*self._of_window(window_id), None]
        for other in others:
            if other is not None:
                self._client.set_model_version_tag(self._model, other.version, DUPLICATE_TAG, "true")
        return counting

    def _counting(self, window_id: str) -> ModelVersion | None:
        return next(iter(self._of_window(window_id)), None)

    def _of_window(self, window_id: str) -> list[ModelVersion]:
        """The window's versions that are not known as duplicates, the lowest first."""
        found = self._search(f"name='{self._model}' and tags.`{WINDOW_TAG}` = '{window_id}'")
        return [version for version in reversed(found) if not version.is_duplicate]

    def _search(self, condition: str) -> list[ModelVersion]:
        found: list[ModelVersion] = []
        token: str | None = None
        while True:
            page = self._client.search_model_versions(condition, VERSIONS_PER_PAGE, ["version_number DESC"], token)
            found += [_version(item) for item in page]
            if not (token := page.token):
                return found

    def _read(self, version: str) -> ModelVersion:
        return _version(self._client.get_model_version(self._model, version))

    def _tag(self, version: str, name: str, value: str) -> None:
        self._calls.repeated(
            f"tagging version {version}",
            lambda: self._client.set_model_version_tag(self._model, version, name, value),
        )

    def _fetch(self, version: str, workplace: Path) -> None:
        found = self.version(version)
        if found is None or found.tags.get(WEIGHTS_TAG) == DELETED:
            reason = "its weights were deleted by retention" if found else "there is no such version"
            raise ModelError(f"version {version} of {self._model} cannot be downloaded: {reason}")
        self._calls.transferring(f"downloading version {version}", lambda: self._copy(found, workplace))

    def _copy(self, version: ModelVersion, workplace: Path) -> None:
        store = self._files(version)
        expected = dict(_listing(store))
        if not expected:
            raise ModelError(f"version {version.version} of {self._model} has no files at {version.source}")
        store.download_artifacts("", str(workplace))  # type: ignore[no-untyped-call]
        for name, size in expected.items():
            if (found := (workplace / name).stat().st_size) != size:
                raise RegistryUnavailableError(f"{name} arrived with {found} of {size} bytes")

    def _delete_weights(self, version: ModelVersion) -> None:
        store = self._files(version)
        for name, _ in _listing(store):
            if name.endswith(WEIGHT_SUFFIX):
                store.delete_artifacts(name)  # type: ignore[no-untyped-call]

    def _files(self, version: ModelVersion) -> ArtifactRepository:
        return self._store(version.source)

    def _store(self, uri: str) -> ArtifactRepository:
        return get_artifact_repository(uri, tracking_uri=self._uri, registry_uri=self._uri)


@contextmanager
def _registry_errors(doing: str) -> Iterator[None]:
    """No exception of MLflow or its HTTP client leaves this module."""
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        raise _kind(error)(f"{doing}: {_in_short(error)}") from error


def _kind(error: Exception) -> type[RegistryUnavailableError | RegistryRefusedError]:
    status = _status(error)
    if status >= SERVER_ERRORS or status in (TOO_MANY_REQUESTS, REQUEST_TIMEOUT) or _lost_a_race(error):
        return RegistryUnavailableError
    missing = isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST"
    return MissingError if missing else RegistryRefusedError


def _lost_a_race(error: Exception) -> bool:
    """Whether another writer put the same tag in between MLflow's look and its insert, which it calls a bad request."""
    return isinstance(error, MlflowException) and any(words in str(error) for words in UNIQUENESS_BROKEN)


def _status(error: Exception) -> int:
    """The HTTP status that the error stands for; without any, nobody answered."""
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    response = getattr(error, "response", None)
    return SERVER_ERRORS if response is None else int(response.status_code)


def _in_short(error: Exception) -> str:
    """Its first line; where that only announces failures, as of a download, the first of them with its file too."""
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[:3]) if lines[0].endswith(":") else lines[0]


def _unless_there(create: Callable[[], object]) -> None:
    """Creates what somebody else may have created since we looked."""
    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(found: MlflowVersion) -> ModelVersion:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return ModelVersion(str(found.version), found.run_id or None, str(found.source), dict(found.tags), created)


def _listing(store: ArtifactRepository, folder: str | None = None) -> Iterator[tuple[str, int]]:
    """Every file below the folder: path and bytes."""
    for item in store.list_artifacts(folder):
        if item.is_dir:
            yield from _listing(store, item.path)
        else:
            yield item.path, item.file_size or 0


def _delete_folder(store: ArtifactRepository, name: str) -> None:
    if next(_listing(store, name), None) is not None:
        store.delete_artifacts(name)  # type: ignore[no-untyped-call]


def _batches(entries: Sequence[Value], size: int) -> Iterator[Sequence[Value]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
