"""What the follower does about a champion, with sources that can be gone."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.server.champion import Champion
from services.server.follower import Follower
from services.server.slots import ServedModel
from shared.canary import Canary
from shared.errors import BrokerUnavailableError, ModelError, RegistryUnavailableError
from shared.events import ServerPhase
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.settings import load_settings
from tests.unit.server.test_swapper import Bench

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeLedger:
    def __init__(self) -> None:
        self.champion: Champion | None = None
        self.canary: Canary | None = None
        self.gone = False

    def ended(self, canary: Canary) -> str:
        return "a test says so"

    @property
    def connected(self) -> bool:
        return not self.gone

    def poll(self, seconds: float) -> None:
        """Nothing to wait for."""

    def catch_up(self) -> None:
        if self.gone:
            raise BrokerUnavailableError("Kafka does not answer")

    def close(self) -> None:
        """Nothing to let go of."""


class Story:
    """A follower whose every step looks at both sources."""

    alias: str | None

    def __init__(self, folder: Path) -> None:
        self.bench, self.ledger, self.alias = Bench(folder), FakeLedger(), None
        self.look = threading.Event()
        self.restart()

    def restart(self) -> None:
        self.bench.restart()
        settings = load_settings(server={"check_alias_seconds": 1e-9})
        self.collector = CollectorRegistry()
        self.follower = Follower(
            settings,
            self.ledger,
            self._ask_alias,
            self.bench.swapper,
            self.bench.canaries,
            self.bench.status,
            ServerMetrics(self.collector),
            ServiceMetrics(self.collector),
            threading.Event(),
            self.look,
        )

    def _ask_alias(self) -> str | None:
        if self.bench.registry.gone:
            raise RegistryUnavailableError("MLflow does not answer")
        return self.alias

    def promote(self, version: str, label: str) -> None:
        self.ledger.champion = self.bench.registry.add(version, label)
        self.alias = version

    def damage(self, version: str) -> None:
        (self.bench.registry.files(version) / "config.json").write_text("{}")

    def reachable(self, dependency: str) -> float | None:
        return self.bench.collector.get_sample_value("tidemill_reachable_info", {"dependency": dependency})

    def failures(self) -> float | None:
        return self.collector.get_sample_value("tidemill_swaps_total", {"outcome": "failed"})


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_nobody_promoted_is_waiting_not_failing(story: Story) -> None:
    story.follower.step()
    assert story.bench.status.now.phase is ServerPhase.WAITING
    assert story.failures() == 0


def test_promotions_are_followed(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    story.promote("2", "negative")
    story.follower.step()
    assert story.bench.answer() == ("2", "negative")


def test_with_kafka_gone_the_alias_is_followed(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    story.ledger.gone = True
    story.bench.registry.add("2", "negative")
    story.alias = "2"
    story.follower.step()
    assert story.bench.answer() == ("2", "negative")
    assert story.bench.status.now.kafka_trouble == "Kafka does not answer"


def test_with_kafka_there_a_moved_alias_is_not_followed(story: Story) -> None:
    story.promote("1", "positive")
    story.bench.registry.add("2", "negative")
    story.alias = "2"
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")


def test_with_nobody_promoted_an_alias_set_by_hand_is_not_followed(story: Story) -> None:
    story.bench.registry.add("1", "positive")
    story.alias = "1"
    story.follower.step()
    assert story.bench.stage.slots.current is None
    assert story.bench.status.now.phase is ServerPhase.WAITING


def test_with_both_gone_it_answers_on(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    story.ledger.gone = story.bench.registry.gone = True
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")
    assert story.bench.status.now.phase is ServerPhase.SERVING


def test_a_bad_candidate_is_not_tried_again_until_there_is_a_new_decision(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    story.promote("2", "negative")
    story.damage("2")
    for _ in range(3):
        story.follower.step()
    assert story.bench.registry.downloads == ["1", "2"]
    assert story.bench.answer() == ("1", "positive")
    now = story.bench.status.now
    assert (now.phase, now.target) == (ServerPhase.FAILED, "2")
    assert now.reason is not None
    assert "digest" in now.reason
    assert story.failures() == 1
    story.promote("3", "negative")
    story.follower.step()
    assert story.bench.answer() == ("3", "negative")


def test_going_back_from_a_bad_candidate_ends_the_failure(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    first = story.ledger.champion
    story.promote("2", "negative")
    story.damage("2")
    story.follower.step()
    story.ledger.champion = first
    story.follower.step()
    assert story.bench.status.now.phase is ServerPhase.SERVING


def test_a_registry_that_was_gone_is_asked_again(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.server.attempts.FIRST_WAIT_SECONDS", 0.0)
    story.promote("1", "positive")
    story.bench.registry.gone = True
    story.follower.step()
    assert story.bench.status.now.phase is ServerPhase.FAILED
    story.bench.registry.gone = False
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")


def test_a_failure_that_may_pass_is_not_hammered(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.server.attempts.FIRST_WAIT_SECONDS", 3600.0)
    story.promote("1", "positive")
    story.bench.registry.gone = True
    for _ in range(3):
        story.follower.step()
    assert story.failures() == 1


def test_a_model_that_could_not_be_loaded_is_tried_again(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.server.attempts.FIRST_RELOAD_SECONDS", 0.0)
    story.promote("1", "positive")
    with monkeypatch.context() as short_of_memory:
        short_of_memory.setattr(story.bench.swapper, "_load", raise_model_error)
        story.follower.step()
    assert story.bench.status.now.phase is ServerPhase.FAILED
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")
    assert story.bench.registry.downloads == ["1"]


def test_a_model_that_could_not_be_loaded_is_tried_again_slowly(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.server.attempts.FIRST_RELOAD_SECONDS", 3600.0)
    monkeypatch.setattr("services.server.attempts.LONGEST_RELOAD_SECONDS", 3600.0)
    monkeypatch.setattr(story.bench.swapper, "_load", raise_model_error)
    story.promote("1", "positive")
    for _ in range(3):
        story.follower.step()
    assert story.failures() == 1


def raise_model_error(folder: Path) -> ServedModel:
    raise ModelError(f"{folder}: cannot be loaded (MemoryError)")


def test_a_restart_with_everybody_gone_serves_at_once(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    story.ledger.gone = story.bench.registry.gone = True
    story.ledger.champion = None
    story.restart()
    story.follower._begin()
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")


def test_asked_to_look_it_tries_a_champion_again_that_was_given_up(story: Story) -> None:
    story.promote("1", "positive")
    story.follower.step()
    story.promote("2", "negative")
    config = story.bench.registry.files("2") / "config.json"
    whole = config.read_bytes()
    story.damage("2")
    story.follower.step()
    config.write_bytes(whole)
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")
    story.look.set()
    story.follower.step()
    assert story.bench.answer() == ("2", "negative")
    assert not story.look.is_set()


def test_asked_to_look_it_does_not_wait_for_the_next_check(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story.follower, "_check_seconds", 3600.0)
    story.follower.step()
    story.promote("1", "positive")
    story.ledger.gone = True
    story.follower.step()
    assert story.bench.status.now.kafka_trouble is None
    story.look.set()
    story.follower.step()
    assert story.bench.status.now.kafka_trouble == "Kafka does not answer"


@pytest.mark.parametrize(("kafka", "registry"), [(True, True), (True, False), (False, True), (False, False)])
def test_metrics_say_who_can_be_reached(story: Story, kafka: bool, registry: bool) -> None:
    story.ledger.gone, story.bench.registry.gone = not kafka, not registry
    story.follower.step()
    assert [story.reachable(name) for name in ("kafka", "registry")] == [kafka, registry]
