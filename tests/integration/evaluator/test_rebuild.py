"""A rebuilt champion is judged by rows that are not poisoned, once, and without a window of its own."""

import pytest

from shared.events import Candidate, Verdict
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import ROWS, Killed, Models, Stage

NAME, POISONED = "rebuild-0123456789ab", "offsets=0-999"


def poisoned(stage: Stage, models: Models, start: Start) -> tuple[Candidate, Candidate]:
    """The first champion learned wrong labels; what it then fails on came with a model as wrong, which waits.

    Returns the waiting challenger and the rebuild, which nobody has judged yet."""
    wrong = stage.window(label=1)
    stage.challenge(wrong, models.positive)
    evaluator = start(stage)
    evaluator.until_entry(1)
    evaluator.close()
    waiting = stage.challenge(stage.window(label=0), models.surely_positive)
    return waiting, stage.rebuild(wrong, models.negative, NAME, POISONED)


def test_a_rebuild_wins_on_the_rows_that_are_left_though_it_loses_on_the_poisoned_ones(
    stage: Stage, models: Models, start: Start
) -> None:
    waiting, rebuild = poisoned(stage, models, start)
    start(stage).until_entry(4)
    _, undecided, promoted, gone = stage.decisions()
    assert (undecided.version, undecided.verdict) == (waiting.version, Verdict.UNDECIDED)
    assert (promoted.version, promoted.verdict) == (rebuild.version, Verdict.PROMOTE)
    assert (promoted.window_id, promoted.looked_window_id) == (NAME, undecided.window_id)
    assert (promoted.numbers["wins"], promoted.numbers["rows"], promoted.numbers["left_out_rows"]) == (ROWS, ROWS, ROWS)
    assert any("judged without offsets=0-999" in reason for reason in promoted.reasons)
    assert {score.rows_name for score in promoted.scores} == {"pool"}
    assert (gone.version, gone.verdict, gone.quarantined) == (waiting.version, Verdict.REJECT, False)
    assert stage.registry.champion() == rebuild.version


@pytest.mark.slow
def test_the_next_window_is_judged_without_the_poisoned_rows_too(stage: Stage, models: Models, start: Start) -> None:
    poisoned(stage, models, start)
    stage.challenge(stage.window(label=0), models.negative)
    start(stage).until_entry(5)
    entry = stage.decisions()[-1]
    assert (entry.verdict, entry.numbers["rows"], entry.numbers["left_out_rows"]) == (Verdict.UNDECIDED, 2 * ROWS, ROWS)


@pytest.mark.slow
def test_an_undecided_rebuild_gathers_evidence_on_the_windows_that_follow(
    crowned: Stage, models: Models, start: Start
) -> None:
    rebuild = crowned.rebuild(crowned.window(label=1), models.surely_positive, NAME, "source=spam")
    crowned.challenge(crowned.window(label=1), models.negative)
    start(crowned).until_entry(4)
    looks = [entry for entry in crowned.decisions() if entry.version == rebuild.version]
    assert [(entry.window_id, entry.without) for entry in looks] == [(NAME, ("source=spam",))] * 2
    assert [entry.numbers["rows"] for entry in looks] == [2 * ROWS, 3 * ROWS]


@pytest.mark.slow
@pytest.mark.parametrize(("step", "after"), [("set_tags", True), ("set_alias", True), ("transaction", True)])
def test_a_rebuild_is_decided_once_when_killed(
    stage: Stage, models: Models, start: Start, step: str, after: bool
) -> None:
    _, rebuild = poisoned(stage, models, start)
    evaluator = start(stage)
    evaluator.until_entry(2)
    evaluator.close()
    evaluator = start(stage, kill=step, after=after)
    with pytest.raises(Killed):
        evaluator.until_entry(4)
    evaluator.close()
    evaluator = start(stage)
    evaluator.until_entry(4)
    evaluator.turn(10)
    assert [entry.version for entry in stage.decisions()].count(rebuild.version) == 1
    assert len(stage.decisions()) == 4
    assert stage.registry.champion() == rebuild.version
