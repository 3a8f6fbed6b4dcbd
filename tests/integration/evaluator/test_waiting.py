"""An undecided challenger waits, gathers evidence on later windows, and is settled once; killed or not."""

from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from shared.events import CommandKind
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import Killed, Models, Stage
from tests.unit.evaluator.builders import CORE_POLICY

POOL_ROWS = 32
STEPS = [
    pytest.param("log_text", False, marks=pytest.mark.slow),
    pytest.param("set_tags", False, marks=pytest.mark.slow),
    pytest.param("set_tags", True, marks=pytest.mark.slow),
    pytest.param("set_alias", False, marks=pytest.mark.slow),
    pytest.param("set_alias", True, marks=pytest.mark.slow),
    pytest.param("transaction", False, marks=pytest.mark.slow),
    pytest.param("transaction", True, marks=pytest.mark.slow),
]


@pytest.fixture
def undecided(
    broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Path, models: Models, start: Start
) -> Stage:
    """A champion that always answers positive, and a challenger with 22 wins and 10 losses against it."""
    # Models that always answer the same lose whole slices; what is asked here is how evidence grows.
    stage = Stage(
        broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, pool_rows=POOL_ROWS, terms=CORE_POLICY.terms
    )
    stage.challenge(stage.window(label=1), models.positive)
    stage.challenge(stage.window(label=0, rows=22), models.negative)
    evaluator = start(stage)
    evaluator.until_entry(2)
    evaluator.until(lambda: stage.registry.aliased("challenger") is not None)
    evaluator.close()
    return stage


def settling(stage: Stage, models: Models) -> list[tuple[int, str | None, str, str | None]]:
    """Publishes the window that settles it, with a candidate of its own; returns how the story must go on."""
    first, waiting = (entry.version for entry in stage.decisions()[:2])
    newcomer = stage.challenge(stage.window(label=0, rows=30), models.surely_positive)
    return [
        (1, first, "promote", first),
        (2, waiting, "undecided", first),
        (3, waiting, "promote", waiting),
        (4, newcomer.version, "reject", waiting),
    ]


def test_a_later_window_settles_what_was_undecided(undecided: Stage, models: Models, start: Start) -> None:
    entry = undecided.decisions()[1]
    assert (entry.numbers["wins"], entry.numbers["losses"]) == (22, 10)
    assert undecided.registry.aliased("challenger") == entry.version
    expected = settling(undecided, models)
    evaluator = start(undecided)
    evaluator.until_entry(4)
    assert undecided.story() == expected
    promotion, closed = undecided.decisions()[2:]
    assert (promotion.numbers["wins"], promotion.numbers["losses"]) == (52, 10)
    assert closed.reasons[0].startswith("superseded")
    assert undecided.registry.champion() == entry.version
    evaluator.until(lambda: undecided.registry.aliased("challenger") is None)


@pytest.mark.parametrize(("step", "after"), STEPS)
def test_evidence_counts_once_when_killed(
    undecided: Stage, models: Models, start: Start, step: str, after: bool
) -> None:
    """Every row is a win or a loss once, however often the sitting is begun anew."""
    expected = settling(undecided, models)
    evaluator = start(undecided, kill=step, after=after)
    with pytest.raises(Killed):
        evaluator.until_entry(4)
    evaluator.close()
    evaluator = start(undecided)
    evaluator.until_entry(4)
    evaluator.turn(10)
    assert undecided.story() == expected
    promotion = undecided.decisions()[2]
    assert (promotion.numbers["wins"], promotion.numbers["losses"], promotion.numbers["ties"]) == (52, 10, 0)
    assert undecided.registry.champion() == promotion.version
    assert evaluator.metric("alias_repairs_total") == 0


@pytest.mark.slow
def test_a_rollback_sends_those_away_that_wait(undecided: Stage, models: Models, start: Start) -> None:
    settling(undecided, models)
    evaluator = start(undecided)
    evaluator.until_entry(4)
    waiting = undecided.challenge(undecided.window(label=1, rows=23), models.positive)
    evaluator.until_entry(5)
    undecided.order(CommandKind.ROLLBACK)
    evaluator.until_entry(7)
    first, second = (undecided.story()[place][1] for place in (0, 2))
    assert undecided.story()[4:] == [
        (5, waiting.version, "undecided", second),
        (6, first, "rollback", first),
        (7, waiting.version, "reject", first),
    ]
