"""Taking a champion over, step by step, with real tiny models and a registry that is a folder."""

import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.server.canary_swapper import CanarySwapper
from services.server.champion import Champion
from services.server.shelf import Shelf
from services.server.slots import Challenger, Slot, Slots
from services.server.status import Status
from services.server.swapper import Swapper, WrongModelError, permanent, within
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.digest import model_digest
from shared.errors import ModelError, RegistryRefusedError, RegistryUnavailableError
from shared.events import CanaryCounts, ServerPhase, ServerState
from shared.health import Health
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.registry import ModelVersion
from shared.settings import load_settings
from tests.models import answering
from tests.unit.server.api_client import LINEAGE

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FolderRegistry:
    """Versions are folders of files; `gone`: it does not answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.gone = False
        self.downloads: list[str] = []

    def add(self, version: str, label: str, labels: tuple[str, ...] = ("negative", "positive")) -> Champion:
        folder = answering(self._folder / version, label, labels)
        return Champion(version, model_digest(folder), NOW)

    def files(self, version: str) -> Path:
        return self._folder / version

    def version(self, version: str) -> ModelVersion | None:
        self._answer()
        if not self.files(version).is_dir():
            return None
        tags = LINEAGE.model_copy(update={"model_digest": model_digest(self.files(version))}).to_tags()
        return ModelVersion(version, None, "folder", tags, NOW)

    def download(self, version: str, folder: Path) -> Path:
        self._answer()
        self.downloads.append(version)
        shutil.copytree(self.files(version), folder)
        return folder

    def _answer(self) -> None:
        if self.gone:
            raise RegistryUnavailableError("nobody answers")


class DirectStage:
    """Switches without a loop."""

    def __init__(self) -> None:
        self.slots = Slots()

    @property
    def challenger(self) -> Challenger | None:
        return self.slots.challenger

    def switch(self, candidate: Slot) -> Slot | None:
        return self.slots.switch(candidate)

    def place_beside(self, challenger: Challenger | None) -> Slot | None:
        return self.slots.place_beside(challenger)

    def drain(self, retired: Slot) -> None:
        retired.close()


class Bench:
    """A swapper with everything around it; `restart` is a new process on the same disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.registry = FolderRegistry(folder / "registry")
        self.watch: Callable[[ServerState], None] = lambda state: None
        self.restart()

    def restart(self) -> None:
        collector = CollectorRegistry()
        self.collector, self.states = collector, list[ServerState]()
        self.metrics, self.stage = ServerMetrics(collector), DirectStage()
        self.health = Health(ServiceMetrics(collector))
        self.status = Status("r", None, self.metrics, self.health, self._announced)
        settings = load_settings(server={"known_questions_timeout_seconds": 60})
        self.shelf = Shelf(self._folder / "shelf")
        self.swapper = Swapper(
            settings, self.registry, self.shelf, AnsweringClassifier.load, self.stage, self.status, self.metrics
        )
        self.reports: list[CanaryCounts] = []
        self.canaries = CanarySwapper(
            settings.server, self.swapper, self.shelf, self.stage, self.status, self.metrics.canary, self.reports.append
        )

    def _announced(self, state: ServerState) -> None:
        self.states.append(state)
        self.watch(state)

    def answer(self) -> tuple[str, str]:
        slot = self.stage.slots.current
        assert slot is not None
        return slot.card.version, slot.model.predict(["a film"]).predicted_labels[0]

    def freshness_count(self) -> float | None:
        return self.collector.get_sample_value("tidemill_freshness_seconds_count")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_champion_goes_through_every_phase_and_then_answers(bench: Bench) -> None:
    bench.swapper.take_over(bench.registry.add("1", "positive"))
    bench.swapper.take_over(bench.registry.add("2", "negative"))
    assert bench.answer() == ("2", "negative")
    second = bench.states[-6:]
    assert [state.phase for state in second] == [
        ServerPhase.DOWNLOADING,
        ServerPhase.VERIFYING,
        ServerPhase.LOADING,
        ServerPhase.WARMING,
        ServerPhase.DRAINING,
        ServerPhase.SERVING,
    ]
    assert [state.version for state in second] == ["1"] * 4 + ["2"] * 2


def test_files_that_are_not_the_ones_decided_on_are_refused(bench: Bench) -> None:
    bench.swapper.take_over(bench.registry.add("1", "positive"))
    champion = bench.registry.add("2", "negative")
    weights = next(bench.registry.files("2").glob("*.safetensors"))
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(WrongModelError, match="digest") as caught:
        bench.swapper.take_over(champion)
    assert permanent(caught.value)
    assert bench.answer() == ("1", "positive")
    assert [known.version for known in bench.shelf.last()] == ["1"]


def test_a_model_with_other_labels_is_refused(bench: Bench) -> None:
    bench.swapper.take_over(bench.registry.add("1", "positive"))
    with pytest.raises(WrongModelError, match="labels"):
        bench.swapper.take_over(bench.registry.add("2", "good", labels=("bad", "good")))
    assert bench.answer() == ("1", "positive")


def test_files_that_verify_but_are_no_model_are_refused(bench: Bench) -> None:
    folder = bench.registry.files("1")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError):
        bench.swapper.take_over(Champion("1", model_digest(folder)))


def test_a_version_that_is_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(ModelError, match="version 5 is not in the registry"):
        bench.swapper.take_over(Champion("5", "a" * 64))


def test_the_digest_comes_from_the_tags_where_only_the_alias_is_known(bench: Bench) -> None:
    bench.registry.add("1", "positive")
    bench.swapper.take_over(Champion("1"))
    assert bench.answer() == ("1", "positive")


def test_going_back_needs_no_registry(bench: Bench) -> None:
    first = bench.registry.add("1", "positive")
    bench.swapper.take_over(first)
    bench.swapper.take_over(bench.registry.add("2", "negative"))
    bench.registry.gone = True
    bench.swapper.take_over(first)
    assert bench.answer() == ("1", "positive")
    assert bench.registry.downloads == ["1", "2"]


def test_a_restart_serves_the_last_model_with_everybody_gone(bench: Bench) -> None:
    bench.swapper.take_over(bench.registry.add("1", "positive"))
    bench.registry.gone = True
    bench.restart()
    assert bench.swapper.take_last()
    assert bench.answer() == ("1", "positive")
    assert bench.status.now.phase is ServerPhase.SERVING


def test_a_restart_with_damaged_files_serves_the_model_before(bench: Bench) -> None:
    bench.swapper.take_over(bench.registry.add("1", "positive"))
    bench.swapper.take_over(bench.registry.add("2", "negative"))
    (bench.shelf.folder(bench.shelf.last()[0]) / "config.json").write_text("{}")
    bench.restart()
    assert bench.swapper.take_last()
    assert bench.answer() == ("1", "positive")


def test_files_on_the_shelf_that_no_longer_verify_are_fetched_again(bench: Bench) -> None:
    champion = bench.registry.add("1", "positive")
    bench.swapper.take_over(champion)
    (bench.shelf.folder(bench.shelf.last()[0]) / "config.json").write_text("{}")
    bench.restart()
    bench.swapper.take_over(champion)
    assert bench.answer() == ("1", "positive")
    assert bench.registry.downloads == ["1", "1"]


def test_freshness_is_measured_when_a_model_first_serves_and_not_after_a_restart(bench: Bench) -> None:
    champion = bench.registry.add("1", "positive")
    bench.swapper.take_over(champion)
    assert bench.freshness_count() == 1
    bench.restart()
    bench.swapper.take_last()
    bench.swapper.take_over(champion)
    assert bench.freshness_count() == 0


@pytest.mark.parametrize(
    "error",
    [
        ModelError("cannot be loaded (MemoryError)"),
        RegistryUnavailableError("x"),
        RegistryRefusedError("x"),
        OSError("no space left on device"),
    ],
)
def test_what_may_not_be_the_models_fault_is_not_permanent(error: Exception) -> None:
    assert not permanent(error)


def test_a_model_that_never_answers_is_given_up() -> None:
    forever = threading.Event()

    def hang() -> None:
        forever.wait(20)

    with pytest.raises(ModelError, match="not within"):
        within(0.01, hang, "it answers")
    with pytest.raises(ModelError, match="has not ended"):
        within(20, hang, "it answers")
    forever.set()


def test_what_a_model_raises_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        within(20, fail, "it fails")
