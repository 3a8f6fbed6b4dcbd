"""The embedded MLflow registers models, keeps their files, and has both again after a kill."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from mlflow import MlflowClient

from deploy.local.mlflow_server import MlflowServer


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


def test_versions_aliases_and_artifacts_survive_a_kill(own_server: MlflowServer, tmp_path: Path) -> None:
    client = MlflowClient(own_server.uri)
    run = client.create_run(client.create_experiment("tide")).info.run_id
    client.log_text(run, "weights", "model/weights.txt")
    client.create_registered_model("sentiment")
    version = client.create_model_version("sentiment", f"runs:/{run}/model", run)
    client.set_registered_model_alias("sentiment", "champion", version.version)
    own_server.kill()
    own_server.start()
    champion = client.get_model_version_by_alias("sentiment", "champion")
    assert champion.version == version.version
    found = client.download_artifacts(run, "model/weights.txt", str(tmp_path))
    assert Path(found).read_text() == "weights"


def test_it_is_one_process_that_stores_files_in_its_home(own_server: MlflowServer) -> None:
    mine = [item for item in psutil.Process().children(recursive=True) if "mlflow" in " ".join(item.cmdline())]
    assert [item.children() for item in mine if str(own_server.home) in item.cmdline()] == [[]]
    client = MlflowClient(own_server.uri)
    run = client.create_run("0").info.run_id
    client.log_text(run, "here", "note.txt")
    assert [path.read_text() for path in own_server.home.rglob("note.txt")] == ["here"]


def test_a_page_from_elsewhere_cannot_talk_to_it(own_server: MlflowServer) -> None:
    url = f"{own_server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403
