"""What `shared.registry` promises, asked of a real MLflow server."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from deploy.local.mlflow_server import MlflowServer
from shared.classifier.digest import model_digest
from shared.classifier.mlflow_format import save_for_mlflow
from shared.classifier.model import Classifier
from shared.errors import ConfigurationError, ModelError, RegistryRefusedError, RegistryUnavailableError
from shared.exam import EXAM_FOLDER
from shared.mlflow_calls import MissingError
from shared.registry import (
    BASE,
    CHALLENGER,
    CHAMPION,
    DUPLICATE_TAG,
    WEIGHTS_TAG,
    WINDOW_TAG,
    ModelVersion,
    Registry,
)
from shared.retry import Stopped
from shared.settings import Settings, load_settings
from tests.models import answering

Answer = TypeVar("Answer")

WINDOW = "w-0000000000"
ASK = """
import sys, mlflow
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}@champion")
print("answer", model.predict(["A fine film."])["label"][0])
"""


def settings_for(uri: str, **registry: object) -> Settings:
    """Settings of a stream of its own."""
    return load_settings(stream={"prefix": f"t{uuid4().hex[:8]}"}, registry={"tracking_uri": uri} | registry)


@pytest.fixture
def settings(mlflow_server: MlflowServer) -> Settings:
    return settings_for(mlflow_server.uri)


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry(settings)


@pytest.fixture
def client(mlflow_server: MlflowServer) -> MlflowClient:
    return MlflowClient(mlflow_server.uri, mlflow_server.uri)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that says `positive` to everything, in MLflow's format."""
    folder = tmp_path_factory.mktemp("model")
    save_for_mlflow(answering(folder / "plain", "positive"), folder / "mlflow")
    return folder / "mlflow"


def train(registry: Registry, model: Path, window_id: str = WINDOW, **tags: str) -> ModelVersion:
    """What a retrainer does at the end of a window."""
    run_id = registry.run_of_window(window_id, f"window {window_id}")
    return registry.register(window_id, run_id, registry.upload_model(run_id, model), tags)


def bare_version(registry: Registry, window_id: str = WINDOW) -> ModelVersion:
    """A version without files."""
    run_id = registry.run_of_window(window_id, window_id)
    return registry.register(window_id, run_id, f"runs:/{run_id}/model", {})


def at_once(call: Callable[[], Answer], callers: int = 2) -> list[Answer]:
    """The answers to calls that start together."""
    start = threading.Barrier(callers)

    def run(_: int) -> Answer:
        start.wait()
        return call()

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(run, range(callers)))


# Runs


def test_a_window_has_one_run_however_often_it_is_asked_for(registry: Registry) -> None:
    assert registry.run_of_window(WINDOW, "first") == registry.run_of_window(WINDOW, "second")
    assert registry.run_of_window("w-0000000001", "third") != registry.run_of_window(WINDOW, "fourth")


def test_two_services_that_ask_at_once_get_the_same_run(settings: Settings) -> None:
    asked = at_once(lambda: Registry(settings).run_of_window(WINDOW, "run"))
    assert len({*asked, Registry(settings).run_of_window(WINDOW, "run")}) == 1


def test_a_run_that_was_begun_earlier_and_appears_later_changes_nothing(registry: Registry) -> None:
    """Each maker says when its run began; one may take longer to arrive than another takes to be made and found."""
    taken = registry.run_of_window(WINDOW, "run")
    made = registry._client.get_run(taken)
    late = registry._client.create_run(
        made.info.experiment_id, start_time=made.info.start_time - 1000, tags={WINDOW_TAG: WINDOW}
    )
    assert late.info.run_id != taken
    assert registry.run_of_window(WINDOW, "run") == taken


def test_of_runs_that_nobody_saw_alone_everybody_takes_the_first(registry: Registry) -> None:
    other = registry.run_of_window("w-0000000001", "another")
    experiment = registry._client.get_run(other).info.experiment_id
    first, _ = (
        registry._client.create_run(experiment, start_time=start, tags={WINDOW_TAG: WINDOW}) for start in (1, 2)
    )
    assert {registry.run_of_window(WINDOW, "run") for _ in range(2)} == {first.info.run_id}


def test_a_stream_has_its_own_runs_and_versions(mlflow_server: MlflowServer) -> None:
    one, other = Registry(settings_for(mlflow_server.uri)), Registry(settings_for(mlflow_server.uri))
    bare_version(one)
    assert other.versions() == []
    assert one.run_of_window(WINDOW, "run") != other.run_of_window(WINDOW, "run")


def test_the_versions_of_another_model_are_counted_apart(settings: Settings, registry: Registry) -> None:
    """Its runs are not: they stand side by side in the stream's experiment."""
    bases = Registry(settings, model=settings.stream.registered_base)
    bare_version(registry)
    assert bases.versions() == []
    bare_version(bases, "u-0000000000")
    assert [version.version for version in bases.versions()] == ["1"]
    assert registry.version_of_window("u-0000000000") is None
    assert bases.run_of_window(WINDOW, "run") == registry.run_of_window(WINDOW, "run")


def test_parameters_metrics_tags_and_files_arrive(registry: Registry, client: MlflowClient, tmp_path: Path) -> None:
    run_id = registry.run_of_window(WINDOW, "run")
    (tmp_path / "loss.png").write_bytes(b"a picture")
    registry.log_params(run_id, {f"p{number}": number for number in range(250)})
    registry.log_metrics(run_id, {"accuracy": 0.8}, step=3)
    registry.set_run_tags(run_id, {"verdict": "promote"})
    registry.log_file(run_id, tmp_path / "loss.png", "plots")
    registry.log_text(run_id, '{"seed": 17}', "plans/plan.json")
    registry.end_run(run_id)
    run = client.get_run(run_id)
    assert len(run.data.params) == 250
    assert run.data.metrics == {"accuracy": 0.8}
    assert run.data.tags["verdict"] == "promote"
    assert run.info.status == "FINISHED"
    assert [item.path for item in client.list_artifacts(run_id, "plots")] == ["plots/loss.png"]
    assert Path(client.download_artifacts(run_id, "plans/plan.json", str(tmp_path))).read_text() == '{"seed": 17}'


def test_a_file_of_a_run_is_read_back_or_none(registry: Registry) -> None:
    run_id = registry.run_of_window(WINDOW, "run")
    registry.log_text(run_id, "größer", "decision/page.html")
    registry.log_text(run_id, "{}", "found.json")
    assert registry.run_file(run_id, "decision/page.html") == "größer".encode()
    assert registry.run_file(run_id, "found.json") == b"{}"
    for absent in ("decision/other.html", "nowhere/page.html"):
        assert registry.run_file(run_id, absent) is None
    assert registry.run_file(run_id[::-1], "decision/page.html") is None


def test_a_folder_of_a_run_is_fetched_whole_and_deleted_once(registry: Registry, tmp_path: Path) -> None:
    run_id = registry.run_of_window(WINDOW, "run")
    for name in ("exam/parent/config.json", "exam/probe/config.json", "examples/config.json"):
        registry.log_text(run_id, name, name)
    fetched = registry.fetch(run_id, EXAM_FOLDER, tmp_path)
    assert (fetched / "probe" / "config.json").read_text() == "exam/probe/config.json"
    for _ in range(2):
        registry.delete_folder(run_id, EXAM_FOLDER)
    with pytest.raises(MissingError):
        registry.fetch(run_id, EXAM_FOLDER, tmp_path)
    assert registry.run_file(run_id, "examples/config.json") is not None
    registry.delete_folder(run_id[::-1], EXAM_FOLDER)


def test_a_series_logged_twice_is_there_once(registry: Registry, client: MlflowClient) -> None:
    run_id = registry.run_of_window(WINDOW, "run")
    points = [(step, 1 / (step + 1)) for step in range(1_100)]
    for _ in range(2):
        registry.log_series(run_id, "loss", points)
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "loss")] == points


def test_a_failed_run_is_marked(registry: Registry, client: MlflowClient) -> None:
    run_id = registry.run_of_window(WINDOW, "run")
    registry.end_run(run_id, failed=True)
    assert client.get_run(run_id).info.status == "FAILED"


# Versions


def test_registering_twice_makes_one_version(registry: Registry, model: Path) -> None:
    first, second = train(registry, model, seed="17"), train(registry, model, seed="18")
    assert first == second
    assert registry.versions() == [first]
    assert first.tags == {"seed": "17", WINDOW_TAG: WINDOW}


def test_of_two_registered_at_once_one_counts_and_the_other_is_tagged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(settings)
    run_id = registry.run_of_window(WINDOW, "run")
    create, both_have_searched = MlflowClient.create_model_version, threading.Barrier(2)

    def create_when_both_have_searched(*arguments: Any, **named: Any) -> Any:
        both_have_searched.wait()
        return create(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_model_version", create_when_both_have_searched)
    counted = at_once(lambda: Registry(settings).register(WINDOW, run_id, f"runs:/{run_id}/model", {}))
    assert [version.version for version in counted] == ["1", "1"]
    assert [(version.version, version.is_duplicate) for version in registry.versions()] == [("2", True), ("1", False)]


def test_several_may_set_the_same_tag_at_once(settings: Settings, registry: Registry) -> None:
    version = bare_version(registry).version
    for number in range(15):
        at_once(lambda: Registry(settings).set_tags(version, {f"tag-{number}": "true"}), callers=4)  # noqa: B023
    found = registry.version(version)
    assert found is not None
    assert {f"tag-{number}" for number in range(15)} <= found.tags.keys()


def test_a_second_version_left_by_a_crash_is_tagged_by_whoever_comes_next(
    registry: Registry, settings: Settings, client: MlflowClient
) -> None:
    """Two processes created; both were killed before they searched again."""
    first = bare_version(registry)
    second = client.create_model_version(settings.stream.registered_model, first.source, first.run_id, first.tags)
    assert bare_version(registry).version == first.version
    assert [version.tags.get(DUPLICATE_TAG) for version in registry.versions()] == ["true", None]
    assert registry.version_of_window(WINDOW) == first
    assert registry.version(str(second.version)).is_duplicate  # type: ignore[union-attr]


def test_versions_come_newest_first(registry: Registry) -> None:
    for window_id in ("w-0", "w-1", "w-2"):
        bare_version(registry, window_id)
    assert [version.version for version in registry.versions()] == ["3", "2", "1"]


def test_what_is_not_there_is_none(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.version("1") is None
    assert registry.version_of_window(WINDOW) is None
    assert registry.champion() is None


def test_a_tag_may_hold_a_whole_decision(registry: Registry) -> None:
    version = bare_version(registry).version
    registry.set_tags(version, {"tidemill.decision": "x" * 5_000, "tidemill.number": "1"})
    found = registry.version(version)
    assert found is not None
    assert (len(found.tags["tidemill.decision"]), found.tags["tidemill.number"]) == (5_000, "1")


# The aliases


def test_the_champion_moves_and_can_be_taken_away(registry: Registry) -> None:
    first, second = bare_version(registry, "w-0").version, bare_version(registry, "w-1").version
    registry.set_alias(CHAMPION, first)
    assert registry.champion() == first
    registry.set_alias(CHAMPION, second)
    assert registry.champion() == second
    registry.clear_alias(CHAMPION)
    assert registry.champion() is None


def test_each_alias_of_each_model_is_its_own(registry: Registry, settings: Settings) -> None:
    bases = Registry(settings, model=settings.stream.registered_base)
    model, base = bare_version(registry, "w-0").version, bare_version(bases, "u-0").version
    registry.set_alias(CHAMPION, model)
    registry.set_alias(CHALLENGER, model)
    bases.set_alias(BASE, base)
    registry.clear_alias(CHALLENGER)
    assert [registry.aliased(alias) for alias in (CHAMPION, CHALLENGER, BASE)] == [model, None, None]
    assert [bases.aliased(alias) for alias in (CHAMPION, BASE)] == [None, base]


def test_there_may_be_no_champion_to_take_away(registry: Registry) -> None:
    registry.clear_alias(CHAMPION)
    bare_version(registry)
    registry.clear_alias(CHAMPION)
    assert registry.champion() is None


def test_a_version_that_does_not_exist_cannot_be_champion(registry: Registry) -> None:
    bare_version(registry)
    with pytest.raises(RegistryRefusedError, match="making version 7 the champion"):
        registry.set_alias(CHAMPION, "7")
    assert registry.champion() is None


# Files


def test_a_downloaded_model_is_the_uploaded_one(registry: Registry, model: Path, tmp_path: Path) -> None:
    version = train(registry, model)
    folder = registry.download(version.version, tmp_path / "champion")
    assert model_digest(folder) == model_digest(model)
    assert Classifier.load(folder).predict(["A fine film."]).predicted.tolist() == [1]


def test_uploading_again_overwrites(registry: Registry, model: Path, tmp_path: Path) -> None:
    run_id = registry.run_of_window(WINDOW, "run")
    damaged = tmp_path / "damaged" / "model"
    damaged.mkdir(parents=True)
    (damaged / "config.json").write_text("{")
    registry.upload_model(run_id, damaged.parent)
    version = train(registry, model)
    assert model_digest(registry.download(version.version, tmp_path / "copy")) == model_digest(model)


def test_a_folder_that_is_there_needs_no_server(tmp_path: Path) -> None:
    nobody = Registry(settings_for("http://127.0.0.1:1", attempts=1))
    (tmp_path / "champion").mkdir()
    assert nobody.download("1", tmp_path / "champion") == tmp_path / "champion"


def test_a_download_that_fails_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    version = bare_version(registry)
    for missing, reason in ((version.version, "no files"), ("9", "no such version")):
        with pytest.raises(ModelError, match=reason):
            registry.download(missing, tmp_path / "champion")
    assert list(tmp_path.iterdir()) == []


def test_deleted_weights_leave_the_version_and_its_tags(registry: Registry, model: Path, tmp_path: Path) -> None:
    version = train(registry, model, seed="17")
    for _ in range(2):
        registry.delete_weights(version.version)
    found = registry.version(version.version)
    assert found is not None
    assert found.tags == {"seed": "17", WINDOW_TAG: WINDOW, WEIGHTS_TAG: "deleted"}
    with pytest.raises(ModelError, match="deleted by retention"):
        registry.download(version.version, tmp_path / "champion")


def test_anybody_can_load_the_champion(
    registry: Registry, settings: Settings, model: Path, tmp_path: Path, mlflow_server: MlflowServer
) -> None:
    """With nothing but MLflow and its tracking URI: no code and no settings of ours."""
    registry.set_alias(CHAMPION, train(registry, model).version)
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    answered = subprocess.run(
        [sys.executable, "-c", ASK, settings.stream.registered_model],
        env=own | {"MLFLOW_TRACKING_URI": mlflow_server.uri},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "answer positive" in answered.stdout, answered.stderr


# A server that is not there


def test_only_a_server_can_be_a_registry() -> None:
    with pytest.raises(ConfigurationError, match=r"registry\.tracking_uri"):
        Registry(settings_for("sqlite:///mlflow.db"))


def test_a_server_that_is_killed_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    with MlflowServer(tmp_path) as server:
        registry = Registry(settings_for(server.uri, attempts=3))
        version = bare_version(registry)
        server.kill()
        for call in (registry.check, registry.champion, lambda: bare_version(registry)):
            with pytest.raises(RegistryUnavailableError, match=server.uri):
                call()
        server.start()
        registry.check()
        assert bare_version(registry) == version


def test_a_stop_ends_the_retries() -> None:
    stopping = threading.Event()
    stopping.set()
    registry = Registry(settings_for("http://127.0.0.1:1", attempts=1000), stopping)
    with pytest.raises(Stopped):
        registry.champion()
