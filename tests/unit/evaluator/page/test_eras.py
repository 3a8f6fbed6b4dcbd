"""Forgetting is seen where a version's cell is paler than those of the versions before it."""

from services.evaluator.exam import BASELINE, CHALLENGER, CHAMPION
from services.evaluator.page.eras import MOST_VERSIONS, era_heat_map, era_table
from shared.events import Decision, Score, Verdict
from tests.unit.evaluator.builders import decision


def score(model: str, era: str, accuracy: float) -> Score:
    return Score(model=model, rows_name=f"era {era}", rows=50, metrics={"accuracy": accuracy})


def entry(number: int, version: str, before: str | None, *scores: Score) -> Decision:
    return decision(number, Verdict.PROMOTE, version, before, scores=scores)


def test_versions_stand_in_the_order_of_the_line_and_eras_the_oldest_first() -> None:
    found = era_table(
        [
            entry(
                2, "3", "1", score(CHALLENGER, "0-9", 0.8), score(CHAMPION, "0-9", 0.9), score(CHALLENGER, "10-19", 0.7)
            ),
            entry(1, "1", None, score(CHALLENGER, "0-9", 0.85), score(BASELINE, "0-9", 0.6)),
        ]
    )
    assert (found.models, found.eras) == ((BASELINE, "1", "3"), ("0-9", "10-19"))
    assert found.accuracy["3", "0-9"] == 0.8
    assert found.rows == {"0-9": 50, "10-19": 50}


def test_of_the_same_model_and_era_the_latest_measure_counts() -> None:
    late = entry(2, "2", "1", score(CHAMPION, "0-9", 0.9))
    early = entry(1, "1", None, score(CHALLENGER, "0-9", 0.8))
    assert era_table([late, early]).accuracy == {("1", "0-9"): 0.9}


def test_other_rows_and_missing_accuracies_are_no_cells() -> None:
    pool = Score(model=CHALLENGER, rows_name="pool", rows=5, metrics={"accuracy": 0.5})
    empty = Score(model=CHALLENGER, rows_name="era 0-9", rows=0, metrics={})
    assert era_table([entry(1, "1", None, pool, empty)]).eras == ()


def test_without_eras_there_is_no_picture() -> None:
    assert era_heat_map(era_table(())) == ""


def test_the_oldest_versions_leave_a_picture_that_is_full() -> None:
    line = [entry(n, str(n), str(n - 1), score(CHALLENGER, "0-9", 0.5)) for n in range(1, MOST_VERSIONS + 3)]
    assert era_table(line).models == tuple(str(n) for n in range(3, MOST_VERSIONS + 3))


def test_a_cell_that_was_not_measured_says_so_and_the_others_are_coloured_by_accuracy() -> None:
    first = entry(1, "1", None, score(CHALLENGER, "0-9", 0.9))
    page = era_heat_map(era_table([first, entry(2, "2", "1", score(CHALLENGER, "10-19", 0.5))]))
    assert page.count("not measured") == 2
    assert "background: rgb(8, 64, 129); color: #ffffff" in page
    assert "background: rgb(247, 251, 255); color: #101418" in page
