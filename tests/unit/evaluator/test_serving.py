"""What a challenger did beside the champion, as the gate sees it; what is missing never passes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.exam import CHALLENGER, CHAMPION
from services.evaluator.gate import decide
from services.evaluator.serving import Serving, judge_serving, served
from services.evaluator.suites import weigh
from shared.events import CanaryCounts, Outcome, ServingRole, Verdict
from shared.gate_settings import GateSettings, ServingTermSettings
from tests.unit.evaluator.builders import CORE_POLICY, NOW, challenge, measured
from tests.unit.evaluator.test_suites import TWO_WINDOWS, answers
from tests.unit.evaluator.test_vetoes import BETTER

TERM = ServingTermSettings(max_disagreement=0.1, max_latency_ratio=1.5, min_texts=200)


def report(session: str = "s", replica: str = "r", **fields: Any) -> CanaryCounts:
    named = {"version": "2", "champion": "1", "role": ServingRole.SHADOW, "replica_id": replica, "session_id": session}
    sums = {"asked": 11, "answers": 0, "failures": 1, "compared": 10, "disagreements": 1, "score_difference": 0.5}
    times = {"timed": 8, "seconds": 2.0, "champion_seconds": 1.0, "at": NOW}
    return CanaryCounts.model_validate(named | sums | times | fields)


def serving(
    compared: int, disagreements: int, ratio: float = 1.0, failures: int = 0, timed: int | None = None
) -> Serving:
    timed = compared if timed is None else timed
    return Serving(compared + failures, failures, compared, disagreements, timed, ratio * timed, float(timed))


def test_the_last_report_of_every_session_counts_and_they_add_up() -> None:
    later = report(asked=31, compared=30, disagreements=2, timed=20, seconds=6.0)
    reports = [report(), later, report(replica="q"), report("t")]
    assert served(reports, "1") == {"2": Serving(53, 3, 50, 4, 36, 10.0, 3.0)}


def test_what_was_compared_with_another_champion_does_not_count() -> None:
    assert served([report(champion="0")], "1") == {}


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (None, Outcome.UNDECIDED),
        (Serving(), Outcome.UNDECIDED),
        (serving(199, 0), Outcome.UNDECIDED),
        (serving(1000, 10, timed=0), Outcome.UNDECIDED),
        (serving(1000, 10, ratio=9.0, timed=199), Outcome.UNDECIDED),
        (serving(1000, 150, timed=0), Outcome.FAIL),
        (serving(1000, 10, failures=50), Outcome.FAIL),
        (serving(0, 0, failures=20), Outcome.FAIL),
        (serving(1000, 10, failures=17), Outcome.UNDECIDED),
        (serving(1000, 10, failures=2), Outcome.PASS),
        (serving(1000, 50), Outcome.PASS),
        (serving(200, 19), Outcome.UNDECIDED),
        (serving(1000, 150), Outcome.FAIL),
        (serving(1000, 10, ratio=1.6), Outcome.FAIL),
    ],
)
def test_the_interval_decides_and_too_little_is_undecided(found: Serving | None, outcome: Outcome) -> None:
    assert judge_serving(TERM, found, against_baseline=False).outcome is outcome


def test_seconds_that_are_not_asked_for_need_not_be_measured() -> None:
    term = TERM.model_copy(update={"judges_latency": False})
    assert judge_serving(term, serving(1000, 50, timed=0), against_baseline=False).outcome is Outcome.PASS


@given(st.integers(0, 2000), st.integers(0, 2000), st.floats(0.1, 3.0), st.integers(0, 100))
def test_it_never_passes_on_few_texts_or_above_a_limit(
    compared: int, disagreements: int, ratio: float, failures: int
) -> None:
    found = serving(compared, min(compared, disagreements), ratio, failures)
    result = judge_serving(TERM, found, against_baseline=False)
    if result.outcome is Outcome.PASS:
        assert compared >= TERM.min_texts
        assert found.disagreements / compared <= TERM.max_disagreement
        assert ratio <= TERM.max_latency_ratio + 1e-9
        assert found.failures / found.asked <= TERM.max_failures


def test_without_a_champion_it_does_not_apply() -> None:
    assert judge_serving(TERM, None, against_baseline=True).outcome is Outcome.NOT_APPLICABLE


def test_the_sentence_holds_both_numbers_and_their_limits() -> None:
    result = judge_serving(TERM, serving(1000, 50, failures=3), against_baseline=False)
    assert "failed 3 times of 1003" in result.detail
    assert "2.00% at most" in result.detail
    assert "50 of 1000 texts" in result.detail
    assert "10.00% at most" in result.detail
    assert "1.5 at most" in result.detail
    assert (result.value, result.rows, result.threshold) == (0.05, 1000, 0.1)


GUARDED = CORE_POLICY.model_copy(update={"terms": (*CORE_POLICY.terms, TERM)})
WATCHED = CORE_POLICY.model_copy(update={"terms": (*CORE_POLICY.terms, TERM.model_copy(update={"guard": False}))})


@pytest.mark.parametrize(
    ("policy", "found", "verdict"),
    [
        (GUARDED, None, Verdict.UNDECIDED),
        (GUARDED, serving(1000, 10), Verdict.PROMOTE),
        (GUARDED, serving(1000, 300), Verdict.REJECT),
        (WATCHED, None, Verdict.PROMOTE),
        (WATCHED, serving(1000, 300), Verdict.PROMOTE),
    ],
)
def test_as_a_guard_it_must_pass_and_else_it_is_only_reported(
    policy: GateSettings, found: Serving | None, verdict: Verdict
) -> None:
    ruling = decide(challenge(BETTER, serving=found), policy)
    assert ruling.verdict is verdict
    assert "serving" in [term.name for term in ruling.terms]


def test_each_challenger_is_judged_by_its_own_counts() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.7, 0.7), CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.8)}
    version = TWO_WINDOWS.challenger.model.version

    def verdict(counts: dict[str, Serving]) -> Verdict:
        return weigh(TWO_WINDOWS, measured(right), GUARDED, counts).rulings[CHALLENGER].verdict

    assert verdict({"another": serving(1000, 10)}) is Verdict.UNDECIDED
    assert verdict({version: serving(1000, 10)}) is Verdict.PROMOTE
