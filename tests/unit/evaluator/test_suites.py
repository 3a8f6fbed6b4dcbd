"""Models are compared on the same rows, and a distrusted window's own rows have no say in its favour."""

import numpy as np
import pytest

from services.evaluator.comparison import UnpairedError
from services.evaluator.exam import BASELINE, CHALLENGER, CHAMPION, BoolArray, Exam, Measured
from services.evaluator.gate import REQUIRED_METRICS, ProbeResult
from services.evaluator.suites import FRESH, POOL, suites, weigh
from shared.events import Outcome, Score, Verdict
from shared.settings import GateSettings
from tests.unit.evaluator.builders import exam

SETTINGS = GateSettings()
METRICS = dict.fromkeys(REQUIRED_METRICS, 0.5)
TWO_WINDOWS = exam([0, 1], rows_each=600, newest=1)
FIRST_MODEL = exam([0], rows_each=600, newest=0, champion=False)


def answers(exam: Exam, here: float, elsewhere: float, shift: int = 0) -> BoolArray:
    """Right on the given shares of the window on trial and of the others, spread evenly."""
    places = (np.arange(len(exam.rows)) + shift) % 100
    return np.where(exam.own, places < 100 * here, places < 100 * elsewhere)


def measured(right: dict[str, BoolArray], metrics: dict[str, float] | None = None) -> Measured:
    rows = len(right[CHALLENGER])
    score = Score(model=CHALLENGER, rows_name=POOL, rows=rows, metrics=METRICS if metrics is None else metrics)
    return Measured(ProbeResult(True, 6, 6), right, (score,), rows, ())


def test_fresh_rows_are_those_of_the_candidates_windows_and_the_pool_is_all() -> None:
    found = suites(TWO_WINDOWS)
    assert (found[FRESH].sum(), found[POOL].sum()) == (600, 1200)


def test_a_better_challenger_is_promoted_a_worse_one_rejected_and_an_equal_one_waits() -> None:
    """The sign: the challenger's gain is a win, whoever is named first."""
    champion = answers(TWO_WINDOWS, 0.7, 0.7)
    verdicts = [
        weigh(TWO_WINDOWS, measured({CHAMPION: champion, CHALLENGER: answers(TWO_WINDOWS, share, share)}), SETTINGS)
        for share in (0.8, 0.6, 0.7)
    ]
    assert [weighed.ruling.verdict for weighed in verdicts] == [Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED]
    assert [weighed.ruling.numbers["delta"] for weighed in verdicts] == pytest.approx([0.1, -0.1, 0.0])


def test_the_first_model_is_measured_against_the_baseline_without_margin() -> None:
    right = {BASELINE: answers(FIRST_MODEL, 0.6, 0.0), CHALLENGER: answers(FIRST_MODEL, 0.75, 0.0)}
    weighed = weigh(FIRST_MODEL, measured(right), SETTINGS)
    assert weighed.ruling.verdict is Verdict.PROMOTE
    assert weighed.ruling.numbers["margin"] == 0.0
    assert weighed.quarantine.reason == "no scored champion model to compare with"


def test_once_there_is_a_champion_beating_the_baseline_is_not_enough() -> None:
    right = {
        BASELINE: answers(TWO_WINDOWS, 0.5, 0.5),
        CHAMPION: answers(TWO_WINDOWS, 0.8, 0.8),
        CHALLENGER: answers(TWO_WINDOWS, 0.7, 0.7),
    }
    assert weigh(TWO_WINDOWS, measured(right), SETTINGS).ruling.verdict is Verdict.REJECT


def test_missing_metrics_are_not_read_as_zero_but_reject() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.7, 0.7), CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.8)}
    ruling = weigh(TWO_WINDOWS, measured(right, metrics={}), SETTINGS).ruling
    assert ruling.verdict is Verdict.REJECT
    assert {term.name: term.outcome for term in ruling.terms}["metrics_complete"] is Outcome.FAIL


def test_models_that_answered_different_rows_are_not_compared() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.7, 0.7)[:-1], CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.8)}
    with pytest.raises((UnpairedError, IndexError)):
        weigh(TWO_WINDOWS, measured(right), SETTINGS)


def test_a_flipped_window_is_quarantined_and_its_rows_do_not_speak_for_its_model() -> None:
    """The challenger learned the flipped labels: it wins on its own window what it loses elsewhere."""
    right = {CHAMPION: answers(TWO_WINDOWS, 0.2, 0.8), CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.3)}
    weighed = weigh(TWO_WINDOWS, measured(right), SETTINGS)
    assert weighed.quarantine.quarantine
    assert (weighed.ruling.verdict, weighed.ruling.numbers["rows"]) == (Verdict.REJECT, 600)


def test_a_new_domain_that_the_champion_does_not_fail_on_is_judged_with_its_rows() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.72, 0.8), CHALLENGER: answers(TWO_WINDOWS, 0.95, 0.7)}
    weighed = weigh(TWO_WINDOWS, measured(right), SETTINGS)
    assert (weighed.quarantine.quarantine, weighed.ruling.numbers["rows"]) == (False, 1200)


def test_without_rows_nothing_is_promoted() -> None:
    nothing = exam([], 0, newest=1)
    right = {CHAMPION: np.array([], np.bool_), CHALLENGER: np.array([], np.bool_)}
    assert weigh(nothing, measured(right), SETTINGS).ruling.verdict is Verdict.UNDECIDED
