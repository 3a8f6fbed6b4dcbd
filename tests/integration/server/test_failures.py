"""What may go wrong around a server, for real: the old champion answers on, and says what is wrong."""

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.server.champion import Champion
from services.server.shelf import Shelf
from shared.classifier.folders import UNFINISHED
from shared.errors import ExitCode, RegistryUnavailableError
from shared.registry import Registry
from shared.settings import Settings
from tests.integration.server.stage import Gate, ServerProcess, Traffic, stream_settings
from tests.unit.server.test_swapper import Bench

NOTICES_QUICKLY = {"bootstrap_timeout_seconds": 2, "request_timeout_seconds": 3}
ROOM_BYTES = 64 * 1024  # half of a tiny model
ADMIN = "an admin's key of the test"


def cut_off(folder: Path) -> None:
    """As a download or an upload that broke off leaves them."""
    (weights,) = folder.glob("**/*.safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])


def cut_off_in_mlflow(gate: Gate, mlflow_server: MlflowServer) -> Champion:
    champion = gate.register("negative")
    version = gate.registry.version(champion.version)
    assert version is not None
    (run,) = mlflow_server.home.glob(f"artifacts/**/{version.run_id}")
    cut_off(run)
    return champion


def cut_off_before_it_was_judged(gate: Gate, mlflow_server: MlflowServer) -> Champion:
    return gate.register("negative", change=cut_off)


def without_numbers(gate: Gate, mlflow_server: MlflowServer) -> Champion:
    return gate.register("negative", certainty=float("nan"))


BROKEN: tuple[tuple[Callable[[Gate, MlflowServer], Champion], str], ...] = (
    (cut_off_in_mlflow, "digest is"),
    (cut_off_before_it_was_judged, "cannot be loaded"),
    (without_numbers, "not finite"),
)


def test_broken_candidates_never_serve(server: ServerProcess, gate: Gate, mlflow_server: MlflowServer) -> None:
    good = gate.promote(gate.register("positive"))
    server.until(version=good.version, phase="serving")
    with Traffic(server.url) as traffic:
        for broken, says in BROKEN:
            bad = gate.promote(broken(gate, mlflow_server))
            server.until(lambda said, says=says: says in (said["reason"] or ""), phase="failed", version=good.version)
            traffic.more()
            page = server.get("/v1/model").json()
            assert (page["version"], page["target"]) == (good.version, bad.version)
            assert says in page["reason"]
        next_good = gate.promote(gate.register("negative"))
        traffic.until_answered_by(next_good.version)
    assert traffic.failures == []
    assert set(traffic.answers) == {(good.version, "positive"), (next_good.version, "negative")}


def test_with_kafka_and_mlflow_gone_it_answers_on_and_says_so(tmp_path: Path) -> None:
    with Broker(tmp_path / "kafka") as broker, MlflowServer(tmp_path / "mlflow") as mlflow:
        settings = stream_settings(broker.bootstrap_servers, mlflow.uri, "gone", tmp_path / "home", **NOTICES_QUICKLY)
        with ServerProcess(settings) as server:
            gate = Gate(settings, tmp_path / "trained")
            champion = gate.promote(gate.register("positive"))
            server.until(version=champion.version, phase="serving", kafka="reachable", registry="reachable")
            assert reachable(server) == {"kafka": 1, "registry": 1}
            with Traffic(server.url) as traffic:
                mlflow.kill()
                until_gone(server, "registry")
                assert reachable(server) == {"kafka": 1, "registry": 0}
                traffic.more()
                broker.kill()
                said = until_gone(server, "kafka")
                assert reachable(server) == {"kafka": 0, "registry": 0}
                traffic.more()
            assert traffic.failures == []
            assert set(traffic.answers) == {(champion.version, "positive")}
            assert (said["ok"], said["phase"], said["version"]) == (True, "serving", champion.version)
            assert server.get("/readyz").status_code == 200


def until_gone(server: ServerProcess, what: str) -> dict[str, Any]:
    """Until the server has noticed; returns what `/readyz` says then."""
    return server.until(lambda said: said[what] != "reachable")


def reachable(server: ServerProcess) -> dict[str, float]:
    families = text_string_to_metric_families(server.get("/metrics").text)
    (family,) = [family for family in families if family.name == "tidemill_reachable_info"]
    return {sample.labels["dependency"]: sample.value for sample in family.samples}


class SmallDisk:
    """A file system that can be filled up, and made room on again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self, room_bytes: int) -> None:
        """Leaves so much room."""
        self._filler.write_bytes(bytes(max(0, shutil.disk_usage(self.folder).free - room_bytes)))

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system in memory, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only who may mount a file system can fill one up")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_in_the_middle_of_a_download_costs_no_answer(
    broker: Broker,
    mlflow_server: MlflowServer,
    topic_prefix: str,
    small_disk: SmallDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__ADMIN_KEYS", f'["{ADMIN}"]')
    home = small_disk.folder / "home"
    settings = stream_settings(broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home)
    gate = Gate(settings, tmp_path / "trained")
    first, second = gate.register("positive"), gate.register("negative")
    with ServerProcess(settings) as server:
        gate.promote(first)
        server.until(version=first.version, phase="serving")
        small_disk.fill(ROOM_BYTES)
        with Traffic(server.url) as traffic:
            gate.promote(second)
            server.until(lambda said: "No space left" in (said["reason"] or ""), phase="failed", ok=True)
            traffic.more()
            assert set(traffic.answers) == {(first.version, "positive")}
            small_disk.free()
            asked = httpx.post(f"{server.url}/v1/admin/check", headers={"X-API-Key": ADMIN}, timeout=30)
            assert asked.status_code == 202
            traffic.until_answered_by(second.version)
        assert traffic.failures == []
        assert unfinished(home) == []


def unfinished(home: Path) -> list[str]:
    """Folders of models that are not whole, below a server's home."""
    return [path.name for path in home.rglob(f"{UNFINISHED}*")]


class FullDisk:
    """Opens files for MLflow's client; while it is full, half of what is written finds room."""

    def __init__(self) -> None:
        self.is_full = True

    def open(self, path: str, mode: str) -> "IO[bytes] | _HalfWritten":
        return _HalfWritten(path, mode) if self.is_full else Path(path).open(mode)


class _HalfWritten:
    """A file on a disk that fills up while it is written."""

    def __init__(self, path: str, mode: str) -> None:
        self._path, self._mode = Path(path), mode

    def __enter__(self) -> "_HalfWritten":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def write(self, content: bytes) -> None:
        with self._path.open(self._mode) as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(self._path))


def test_what_a_full_disk_cut_off_is_gone_and_the_next_attempt_brings_it_whole(
    settings: Settings, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, disk = Bench(tmp_path / "bench"), FullDisk()
    bench.swapper.take_over(bench.registry.add("old", "positive"))
    champion = gate.register("negative")
    monkeypatch.setattr(bench.swapper, "_source", Registry(settings))
    monkeypatch.setattr("mlflow.store.artifact.http_artifact_repo.open", disk.open, raising=False)
    with pytest.raises(RegistryUnavailableError, match="No space left on device"):
        bench.swapper.take_over(champion)
    assert bench.answer() == ("old", "positive")
    assert models_of(bench.shelf, tmp_path) == ["old"]
    disk.is_full = False
    bench.swapper.take_over(champion)
    assert bench.answer() == (champion.version, "negative")
    assert models_of(bench.shelf, tmp_path) == sorted(["old", champion.version])


def models_of(shelf: Shelf, tmp_path: Path) -> list[str]:
    """Versions whose folders lie on the shelf; a half one would be there under another name."""
    return sorted(path.name.partition("-")[0] for path in (tmp_path / "bench" / "shelf").iterdir() if path.is_dir())


# A GPU that breaks off, on whatever machine, while a request is computed.
LOSES_ITS_GPU = """
import os
import runpy
import threading
from pathlib import Path

import services
import torch
from shared.classifier.packed import PackedDistilBert

computes, lost = PackedDistilBert.logits, Path(os.environ["TIDEMILL_HOME"], "lost")

def logits(body, rows):
    if lost.exists() and threading.current_thread().name.startswith("model"):
        error = torch.AcceleratorError("CUDA error: unspecified launch failure")
        error.error_code = 719
        raise error
    return computes(body, rows)

PackedDistilBert.logits = logits
runpy.run_module("services.server", run_name="__main__")
"""


def test_a_server_that_lost_its_gpu_says_ask_again_and_ends(settings: Settings, gate: Gate) -> None:
    """It would fail for ever; whoever starts it again gives it a device that computes."""
    with ServerProcess(settings, ("-c", LOSES_ITS_GPU)) as server:
        champion = gate.promote(gate.register("positive"))
        server.until(version=champion.version, phase="serving")
        assert server.predict(text="fine").json()["predictions"][0]["label"] == "positive"
        (settings.home / "lost").touch()
        refused = server.predict(text="fine")
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert server.ended() == ExitCode.CRASHED
    with ServerProcess(settings) as server:
        server.until(version=champion.version, phase="serving")
