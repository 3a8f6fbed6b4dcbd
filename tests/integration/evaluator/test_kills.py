"""Killed at any step of a decision, the evaluator finishes it after a restart: once, and with a true alias."""

import pytest

from shared.events import CommandKind
from shared.registry import DECISION_PAGE, rollback_page
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import Killed, Models, Stage
from tests.unit.evaluator.page.test_suspects import quality

# The point at which most is half done is killed in every test run, the others in `make chaos`.
STEPS = [
    pytest.param("log_text", False, marks=pytest.mark.slow),
    pytest.param("set_tags", False, marks=pytest.mark.slow),
    ("set_tags", True),
    pytest.param("set_alias", True, marks=pytest.mark.slow),
    pytest.param("transaction", False, marks=pytest.mark.slow),
    pytest.param("transaction", True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("step", "after"), STEPS)
def test_each_candidate_is_decided_once_when_killed(
    small_pool: Stage, models: Models, start: Start, step: str, after: bool
) -> None:
    """The second promotion is killed: after its alias moved, the challenger must not meet itself as champion."""
    first = small_pool.challenge(small_pool.window(label=1), models.positive)
    evaluator = start(small_pool)
    evaluator.until_entry(1)
    evaluator.close()
    second = small_pool.challenge(small_pool.window(label=0), models.negative)
    evaluator = start(small_pool, kill=step, after=after)
    with pytest.raises(Killed):
        evaluator.until_entry(2)
    evaluator.close()
    evaluator = start(small_pool)
    evaluator.until_entry(2)
    evaluator.turn(10)
    assert small_pool.story() == [
        (1, first.version, "promote", first.version),
        (2, second.version, "promote", second.version),
    ]
    assert small_pool.registry.champion() == second.version
    assert small_pool.decisions()[1].numbers["wins"] == small_pool.decisions()[1].numbers["rows"]
    assert evaluator.metric("alias_repairs_total") == 0


@pytest.mark.parametrize(
    ("step", "after"), [("set_alias", True), pytest.param("transaction", True, marks=pytest.mark.slow)]
)
def test_a_rollback_is_executed_once_when_killed(
    small_pool: Stage, models: Models, start: Start, step: str, after: bool
) -> None:
    versions = two_champions(small_pool, models, start)
    small_pool.order(CommandKind.ROLLBACK)
    evaluator = start(small_pool, kill=step, after=after)
    with pytest.raises(Killed):
        evaluator.until_entry(3)
    evaluator.close()
    evaluator = start(small_pool)
    evaluator.until_entry(3)
    evaluator.turn(10)
    assert small_pool.story()[2:] == [(3, versions[0], "rollback", versions[0])]
    assert small_pool.registry.champion() == versions[0]
    assert pages(small_pool) == 2


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_the_page_of_a_rollback_is_written_after_all_when_killed(
    small_pool: Stage, models: Models, start: Start, after: bool
) -> None:
    two_champions(small_pool, models, start)
    small_pool.order(CommandKind.ROLLBACK)
    evaluator = start(small_pool, kill="log_text", after=after)
    with pytest.raises(Killed):
        evaluator.until(lambda: False)
    evaluator.close()
    assert (len(small_pool.decisions()), pages(small_pool)) == (3, int(after)), "it waited for its page"
    evaluator = start(small_pool)
    evaluator.until(lambda: pages(small_pool) == 2)
    assert len(small_pool.decisions()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("step", ["log_metrics", "log_text", "transaction"])
@pytest.mark.parametrize("after", [False, True])
def test_a_window_that_was_not_learned_is_decided_once_when_killed(
    stage: Stage, start: Start, step: str, after: bool
) -> None:
    candidate = stage.distrust(stage.window(), quality())
    evaluator = start(stage, kill=step, after=after)
    with pytest.raises(Killed):
        evaluator.until_entry(1)
    evaluator.close()
    evaluator = start(stage)
    evaluator.until_entry(1)
    evaluator.turn(5)
    (entry,) = stage.decisions()
    assert (entry.window_id, entry.quarantined, entry.numbers) == (candidate.window_id, True, candidate.numbers)
    assert stage.registry.run_file(str(entry.run_id), DECISION_PAGE) is not None


def pages(stage: Stage) -> int:
    """In how many runs the page of the third entry, a rollback, lies."""
    runs = {str(entry.run_id) for entry in stage.decisions()}
    return sum(stage.registry.run_file(run_id, rollback_page(3)) is not None for run_id in runs)


def two_champions(stage: Stage, models: Models, start: Start) -> tuple[str | None, str | None]:
    """A stream where a second champion followed a first."""
    first = stage.challenge(stage.window(label=1), models.positive)
    second = stage.challenge(stage.window(label=0), models.negative)
    evaluator = start(stage)
    evaluator.until_entry(2)
    evaluator.close()
    return first.version, second.version
