"""Models are compared on the same rows, and a distrusted window's own rows have no say in its favour."""

from dataclasses import replace

import numpy as np
import pytest

from services.evaluator.comparison import UnpairedError
from services.evaluator.exam import ANCHOR, BASELINE, CHALLENGER, CHAMPION, BoolArray, Contender, Exam, Model
from services.evaluator.suites import FRESH, POOL, suites, weigh
from shared.events import Outcome, Verdict
from shared.gate_settings import GateSettings
from tests.unit.evaluator.builders import CORE_POLICY, exam, measured

SETTINGS = CORE_POLICY
TWO_WINDOWS = exam([0, 1], rows_each=600, newest=1)
FIRST_MODEL = exam([0], rows_each=600, newest=0, champion=False)


def answers(exam: Exam, here: float, elsewhere: float, shift: int = 0) -> BoolArray:
    """Right on the given shares of the window on trial and of the others, spread evenly."""
    places = (np.arange(len(exam.rows)) + shift) % 100
    return np.where(exam.own, places < 100 * here, places < 100 * elsewhere)


def test_fresh_rows_are_those_of_the_candidates_windows_and_the_pool_is_all() -> None:
    found = suites(TWO_WINDOWS, TWO_WINDOWS.challenger)
    assert (found[FRESH].sum(), found[POOL].sum()) == (600, 1200)


def test_a_better_challenger_is_promoted_a_worse_one_rejected_and_an_equal_one_waits() -> None:
    """The sign: the challenger's gain is a win, whoever is named first."""
    champion = answers(TWO_WINDOWS, 0.7, 0.7)
    verdicts = [
        weigh(TWO_WINDOWS, measured({CHAMPION: champion, CHALLENGER: answers(TWO_WINDOWS, share, share)}), SETTINGS)
        for share in (0.8, 0.6, 0.7)
    ]
    rulings = [weighed.rulings[CHALLENGER] for weighed in verdicts]
    assert [ruling.verdict for ruling in rulings] == [Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED]
    assert [ruling.numbers["delta"] for ruling in rulings] == pytest.approx([0.1, -0.1, 0.0])


def test_the_first_model_is_measured_against_the_baseline_without_margin() -> None:
    right = {BASELINE: answers(FIRST_MODEL, 0.6, 0.0), CHALLENGER: answers(FIRST_MODEL, 0.75, 0.0)}
    weighed = weigh(FIRST_MODEL, measured(right), SETTINGS)
    assert weighed.rulings[CHALLENGER].verdict is Verdict.PROMOTE
    assert weighed.rulings[CHALLENGER].numbers["margin"] == 0.0
    assert weighed.quarantine.reason == "no scored champion model to compare with"


def test_once_there_is_a_champion_beating_the_baseline_is_not_enough() -> None:
    right = {
        BASELINE: answers(TWO_WINDOWS, 0.5, 0.5),
        CHAMPION: answers(TWO_WINDOWS, 0.8, 0.8),
        CHALLENGER: answers(TWO_WINDOWS, 0.7, 0.7),
    }
    assert weigh(TWO_WINDOWS, measured(right), SETTINGS).rulings[CHALLENGER].verdict is Verdict.REJECT


def test_missing_metrics_are_not_read_as_zero_but_reject() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.7, 0.7), CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.8)}
    ruling = weigh(TWO_WINDOWS, measured(right, metrics={}), SETTINGS).rulings[CHALLENGER]
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
    assert (weighed.rulings[CHALLENGER].verdict, weighed.rulings[CHALLENGER].numbers["rows"]) == (Verdict.REJECT, 600)


def test_a_new_domain_that_the_champion_does_not_fail_on_is_judged_with_its_rows() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.72, 0.8), CHALLENGER: answers(TWO_WINDOWS, 0.95, 0.7)}
    weighed = weigh(TWO_WINDOWS, measured(right), SETTINGS)
    assert (weighed.quarantine.quarantine, weighed.rulings[CHALLENGER].numbers["rows"]) == (False, 1200)


def test_without_rows_nothing_is_promoted() -> None:
    nothing = exam([], 0, newest=1)
    right = {CHAMPION: np.array([], np.bool_), CHALLENGER: np.array([], np.bool_)}
    assert weigh(nothing, measured(right), SETTINGS).rulings[CHALLENGER].verdict is Verdict.UNDECIDED


def waiting_since(sequence: int, version: str = "7") -> Contender:
    """A challenger born with a window, on trial by the rows of that window and later ones."""
    rows = np.array([row.window_id >= f"w-{1000 * sequence:010d}" for row in TWO_WINDOWS.rows], np.bool_)
    return Contender(f"waiting {version}", Model(version, "f" * 64), rows)


def test_each_contender_is_judged_on_its_own_rows() -> None:
    waiting = waiting_since(1)
    sitting = exam([0, 1], rows_each=600, newest=1, waiting=(waiting,))
    right = {CHAMPION: answers(sitting, 0.7, 0.7), CHALLENGER: answers(sitting, 0.7, 0.7)}
    right |= {waiting.role: answers(sitting, 0.9, 0.1)}
    rulings = weigh(sitting, measured(right), SETTINGS).rulings
    assert list(rulings) == [waiting.role, CHALLENGER]
    assert {role: ruling.numbers["rows"] for role, ruling in rulings.items()} == {waiting.role: 600, CHALLENGER: 1200}
    assert rulings[waiting.role].verdict is Verdict.PROMOTE


def test_rows_that_a_model_was_not_asked_about_are_never_compared() -> None:
    right = {CHAMPION: answers(TWO_WINDOWS, 0.7, 0.7), CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.8)}
    half = {CHAMPION: TWO_WINDOWS.everywhere, CHALLENGER: TWO_WINDOWS.fresh}
    with pytest.raises(ValueError, match="did not both answer"):
        weigh(TWO_WINDOWS, measured(right, answered=half), SETTINGS)


def test_a_waiting_challenger_whose_files_are_gone_is_rejected_not_waited_for() -> None:
    waiting = waiting_since(0)
    sitting = exam([0, 1], rows_each=600, newest=1, waiting=(waiting,))
    right = {CHAMPION: answers(sitting, 0.7, 0.7), CHALLENGER: answers(sitting, 0.7, 0.7)}
    rulings = weigh(sitting, measured(right, unusable={waiting.role: "its weights are gone"}), SETTINGS).rulings
    assert rulings[waiting.role].verdict is Verdict.REJECT
    assert "its weights are gone" in rulings[waiting.role].reasons[0]


@pytest.mark.parametrize(("champion", "advances"), [(0.85, True), (0.7, False), (0.6, False)])
def test_a_champion_becomes_the_anchor_once_it_is_proven_better_on_rows_after_its_promotion(
    champion: float, advances: bool
) -> None:
    sitting = exam([0, 1], rows_each=600, newest=1, anchor=Model("0", "f" * 64), since_promotion=TWO_WINDOWS.fresh)
    right = {
        ANCHOR: answers(sitting, 0.7, 0.7),
        CHAMPION: answers(sitting, champion, 0.7),
        CHALLENGER: answers(sitting, 0.7, 0.7),
    }
    verdict = weigh(sitting, measured(right), SETTINGS).anchor
    assert (verdict.advances, verdict.numbers["anchor_rows"]) == (advances, 600)


def test_a_distrusted_window_proves_no_anchor() -> None:
    sitting = exam([0, 1], rows_each=600, newest=1, anchor=Model("0", "f" * 64), since_promotion=TWO_WINDOWS.fresh)
    right = {
        ANCHOR: answers(sitting, 0.1, 0.8),
        CHAMPION: answers(sitting, 0.2, 0.8),
        CHALLENGER: answers(sitting, 0.8, 0.3),
    }
    weighed = weigh(sitting, measured(right), SETTINGS)
    assert (weighed.quarantine.quarantine, weighed.anchor.numbers["anchor_rows"]) == (True, 0)


def test_a_promotion_is_stopped_by_an_era_that_was_forgotten() -> None:
    sitting = exam([0, 1], rows_each=600, newest=1, eras={"0-0": ~TWO_WINDOWS.fresh})
    right = {CHAMPION: answers(sitting, 0.7, 0.8), CHALLENGER: answers(sitting, 0.9, 0.7)}
    ruling = weigh(sitting, measured(right, slices={}), GateSettings()).rulings[CHALLENGER]
    assert ruling.verdict is Verdict.REJECT
    assert any("0-0" in reason for reason in ruling.reasons)


def test_a_promotion_is_stopped_by_a_slice_that_got_worse() -> None:
    part = TWO_WINDOWS.everywhere & (np.arange(1200) % 5 == 0)
    right = {CHAMPION: np.where(part, True, answers(TWO_WINDOWS, 0.6, 0.6))}
    right |= {CHALLENGER: np.where(part, answers(TWO_WINDOWS, 0.5, 0.5), answers(TWO_WINDOWS, 0.95, 0.95))}
    ruling = weigh(TWO_WINDOWS, measured(right, slices={"source:shop": part}), GateSettings()).rulings[CHALLENGER]
    assert ruling.verdict is Verdict.REJECT
    assert any("source:shop" in reason for reason in ruling.reasons)


@pytest.mark.parametrize(("worst", "verdict"), [(0.6, Verdict.PROMOTE), (0.78, Verdict.REJECT)])
def test_a_class_may_pay_for_another_while_it_stays_above_the_champions_worst(worst: float, verdict: Verdict) -> None:
    negative = TWO_WINDOWS.everywhere & (np.arange(1200) % 2 == 0)
    slices = {"label:negative": negative, "label:positive": ~negative}
    champion = np.where(negative, answers(TWO_WINDOWS, 0.9, 0.9), answers(TWO_WINDOWS, worst, worst))
    challenger = np.where(negative, answers(TWO_WINDOWS, 0.76, 0.76), answers(TWO_WINDOWS, 0.99, 0.99))
    answered = measured({CHAMPION: champion, CHALLENGER: challenger}, slices=slices)
    ruling = weigh(TWO_WINDOWS, answered, GateSettings()).rulings[CHALLENGER]
    assert ruling.verdict is verdict
    assert ruling.numbers["slice/label:negative/champion"] == pytest.approx(0.9)
    assert ruling.numbers["slice/label:positive/champion"] == pytest.approx(worst)


def test_a_slow_slide_is_stopped_by_the_anchor() -> None:
    """Safe against the champion, which is itself below the anchor."""
    sitting = exam([0, 1], rows_each=600, newest=1, anchor=Model("0", "f" * 64), since_promotion=TWO_WINDOWS.fresh)
    right = {
        ANCHOR: answers(sitting, 0.8, 0.8),
        CHAMPION: answers(sitting, 0.7, 0.7),
        CHALLENGER: answers(sitting, 0.75, 0.75),
    }
    ruling = weigh(sitting, measured(right, slices={}), GateSettings()).rulings[CHALLENGER]
    assert ruling.verdict is Verdict.UNDECIDED
    assert [reason for reason in ruling.reasons if reason.startswith("anchor")]


def test_a_rebuild_has_no_fresh_rows_and_quarantines_nothing() -> None:
    """The same answers lock a window away whose own challenger gives them."""
    rebuilt = replace(TWO_WINDOWS, own_windows=())
    right = {CHAMPION: answers(TWO_WINDOWS, 0.2, 0.8), CHALLENGER: answers(TWO_WINDOWS, 0.8, 0.3)}
    weighed = weigh(rebuilt, measured(right), SETTINGS)
    assert weigh(TWO_WINDOWS, measured(right), SETTINGS).quarantine.quarantine
    assert not weighed.quarantine.quarantine
    assert FRESH not in suites(rebuilt, rebuilt.challenger)
    assert weighed.rulings[CHALLENGER].numbers["rows"] == 1200
