"""What goes wrong around a decision: strangers, operators, a registry that is away, disks that fill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.evaluator import app
from services.evaluator.exam import Exam, Killed
from shared.errors import RetryableError
from shared.events import CommandKind, Verdict
from shared.registry import CHAMPION
from shared.settings import Settings
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import Models, Stage
from tests.integration.evaluator.test_kills import two_champions


class Dead:
    """A scoring process that something always kills."""

    started = 0

    def __init__(self, score: object, exam: Exam, settings: Settings) -> None:
        Dead.started += 1

    def result(self) -> Killed:
        return Killed("scoring was ended by signal 9 (Killed)")

    def close(self) -> None:
        """It is dead."""


def test_an_alias_that_a_stranger_moved_is_repaired(small_pool: Stage, models: Models, start: Start) -> None:
    first, second = two_champions(small_pool, models, start)
    assert first is not None
    evaluator = start(small_pool)
    small_pool.registry.set_alias(CHAMPION, first)
    evaluator.until(lambda: small_pool.registry.champion() == second)
    assert evaluator.metric("alias_repairs_total") == 1
    small_pool.registry.clear_alias(CHAMPION)
    evaluator.until(lambda: small_pool.registry.champion() == second)
    assert len(small_pool.decisions()) == 2


@pytest.mark.slow
def test_a_rollback_is_a_new_entry_with_who_and_why(small_pool: Stage, models: Models, start: Start) -> None:
    first, second = two_champions(small_pool, models, start)
    small_pool.order(CommandKind.ROLLBACK, command_id="order-1")
    evaluator = start(small_pool)
    evaluator.until_entry(3)
    entry = small_pool.decisions()[2]
    assert (entry.verdict, entry.champion_before, entry.champion_after) == (Verdict.ROLLBACK, second, first)
    assert (entry.decided_by, entry.reasons, entry.command_id) == ("ann", ("a trial",), "order-1")
    assert entry.model_digest == small_pool.decisions()[0].model_digest
    assert small_pool.registry.champion() == first


def test_the_same_order_twice_is_one_rollback_and_an_impossible_one_moves_nothing(
    small_pool: Stage, models: Models, start: Start
) -> None:
    first, _ = two_champions(small_pool, models, start)
    for command_id in ("order-1", "order-1", "order-2"):
        small_pool.order(CommandKind.ROLLBACK, command_id=command_id)
    evaluator = start(small_pool)
    evaluator.until(lambda: small_pool.commands_done() == 3 or evaluator.metric("ledger_number") == 4)
    entries = small_pool.decisions()[2:]
    assert [(entry.verdict, entry.command_id) for entry in entries] == [
        (Verdict.ROLLBACK, "order-1"),
        (Verdict.REJECT, "order-2"),
    ]
    assert entries[1].reasons[0].startswith("rollback refused")
    assert small_pool.registry.champion() == first


def test_a_scorer_that_is_killed_every_time_is_in_the_end_an_unusable_challenger(
    stage: Stage, models: Models, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dead, "started", 0)
    monkeypatch.setattr(app, "ScoringProcess", Dead)
    stage.challenge(stage.window(label=1), models.positive)
    start(stage).until_entry(1)
    (entry,) = stage.decisions()
    assert (entry.verdict, stage.registry.champion()) == (Verdict.REJECT, None)
    assert Dead.started == stage.settings.evaluator.killed_attempts > stage.settings.evaluator.attempts
    assert "signal 9" in entry.reasons[0]


@pytest.mark.slow
def test_old_weights_go_but_the_champion_stays(small_pool: Stage, models: Models, start: Start) -> None:
    """Two newest versions, the champion and the one before it are kept; of five versions, one goes."""
    two_champions(small_pool, models, start)
    for _ in range(3):
        small_pool.challenge(small_pool.window(label=0), models.positive)
    evaluator = start(small_pool)
    evaluator.until_entry(5)

    def with_weights() -> list[str]:
        return [version.version for version in small_pool.registry.versions() if version.has_weights]

    evaluator.until(lambda: len(with_weights()) == 4)
    evaluator.turn(5)
    assert with_weights() == ["5", "4", "2", "1"]


@pytest.fixture
def own_mlflow(tmp_path: Path) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path / "mlflow") as server:
        yield server


def test_mlflow_that_goes_away_is_waited_for(
    broker: Broker, own_mlflow: MlflowServer, topic_prefix: str, home: Path, models: Models, start: Start
) -> None:
    """Gone after the candidate was scored: no verdict on the candidate, and none is lost."""
    stage = Stage(broker.bootstrap_servers, own_mlflow.uri, topic_prefix, home)
    candidate = stage.challenge(stage.window(label=1), models.positive)
    evaluator = start(stage)
    evaluator.until(lambda: evaluator.metric("rows_scored_total") > 0)
    own_mlflow.kill()
    with pytest.raises(RetryableError, match="MLflow"):
        evaluator.turn(20)
    assert stage.decisions() == []
    own_mlflow.start()
    evaluator.until_entry(1)
    assert stage.story() == [(1, candidate.version, "promote", candidate.version)]
    assert stage.registry.champion() == candidate.version
