"""A base is accepted only if it guesses better and classifies no worse, both proven; what is missing never helps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.bases.gate import ACCURACY, PERPLEXITY, Comparison, decide
from services.evaluator.bases.guesses import Guesses
from services.evaluator.comparison import Flips, evidence, harm
from services.evaluator.gate import Ruling
from shared.events import Outcome, TermResult, Verdict
from shared.gate_settings import BaseGateSettings
from tests.unit.evaluator.bases.builders import answers, comparison, guesses

SETTINGS = BaseGateSettings()
NO_GUESSES = Guesses(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
NO_ANSWERS = answers(0, 0, 0)


def ruling(found: Comparison) -> Ruling:
    return decide(found, SETTINGS)


def term(found: Comparison, name: str) -> TermResult:
    return next(each for each in ruling(found).terms if each.name == name)


def outcomes(found: Comparison) -> list[str]:
    return [each.outcome.value for each in ruling(found).terms]


@pytest.mark.parametrize(
    ("saved", "wins", "losses", "said", "verdict"),
    [
        (0.5, 60, 20, ["pass", "pass"], Verdict.PROMOTE),
        (0.5, 30, 30, ["pass", "undecided"], Verdict.UNDECIDED),
        (0.5, 20, 60, ["pass", "fail"], Verdict.REJECT),
        (0.0, 60, 20, ["undecided", "pass"], Verdict.UNDECIDED),
        (0.0, 20, 60, ["undecided", "fail"], Verdict.REJECT),
        (-0.5, 60, 20, ["fail", "pass"], Verdict.REJECT),
        (-0.5, 30, 30, ["fail", "undecided"], Verdict.REJECT),
    ],
)
def test_both_terms_must_be_proven_and_either_may_reject(
    saved: float, wins: int, losses: int, said: list[str], verdict: Verdict
) -> None:
    found = comparison(saved, wins, losses)
    assert (outcomes(found), ruling(found).verdict) == (said, verdict)


def test_reasons_say_before_and_after_and_how_sure_it_is() -> None:
    perplexity, accuracy = ruling(comparison()).reasons
    assert perplexity.startswith("perplexity: 19.85 -> 12.04 on 2118 words of 200 reviews: 0.5002 nats a guess fewer")
    assert "proven (p " in perplexity
    assert accuracy.startswith("accuracy after fine tuning: 0.9700 -> 0.9900, 60 wins, 20 losses in 2000 reviews")
    assert "that it loses at most 1 point reaches 20" in accuracy


def test_what_is_undecided_says_how_many_more_reviews_would_settle_it() -> None:
    found = comparison(0.01, wins=32, losses=30)
    ruled = ruling(found)
    assert (outcomes(found), ruled.verdict) == (["undecided", "undecided"], Verdict.UNDECIDED)
    assert all((each.need_rows or 0) > 0 for each in ruled.terms)


def test_bases_that_guess_alike_are_undecided() -> None:
    same = guesses(0.5)
    found = replace(comparison(), guesses=Guesses(same.before, same.before, same.counts))
    assert term(found, PERPLEXITY).outcome is Outcome.UNDECIDED
    assert "no difference at all" in term(found, PERPLEXITY).detail


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (replace(comparison(), guesses=NO_GUESSES), PERPLEXITY),
        (replace(comparison(), guesses=guesses(2.0, rows=1)), PERPLEXITY),
        (replace(comparison(), guesses=Guesses(np.ones(9), np.zeros(9), np.zeros(9, np.int64))), PERPLEXITY),
        (replace(comparison(), right_before=NO_ANSWERS[0], right_after=NO_ANSWERS[1]), ACCURACY),
        (Comparison(guesses(0.5), *answers(3, 0, 9)), ACCURACY),
    ],
)
def test_no_rows_and_too_few_are_undecided(found: Comparison, name: str) -> None:
    assert term(found, name).outcome is Outcome.UNDECIDED
    assert ruling(found).verdict is Verdict.UNDECIDED


def test_an_adapted_base_whose_losses_are_no_numbers_is_rejected() -> None:
    found = comparison()
    found.guesses.after[3] = math.nan
    assert (term(found, PERPLEXITY).outcome, ruling(found).verdict) == (Outcome.FAIL, Verdict.REJECT)


def test_a_parent_whose_losses_are_no_numbers_promotes_nothing() -> None:
    found = comparison()
    found.guesses.before[3] = math.inf
    assert (term(found, PERPLEXITY).outcome, ruling(found).verdict) == (Outcome.UNDECIDED, Verdict.UNDECIDED)


def test_accuracy_is_judged_by_the_evidence_that_models_are_judged_by() -> None:
    found, flips = comparison(wins=60, losses=20), Flips(60, 20, 1_920)
    numbers = ruling(found).numbers
    assert numbers["evidence_safe"] == evidence(flips, above=-SETTINGS.margin) == term(found, ACCURACY).value
    assert numbers["harm"] == harm(flips)


def test_without_a_margin_it_must_be_better() -> None:
    settings = BaseGateSettings(margin=0.0)
    said = {wins: decide(comparison(wins=wins, losses=20), settings).verdict for wins in (20, 60)}
    assert said == {20: Verdict.UNDECIDED, 60: Verdict.PROMOTE}


def test_the_numbers_say_all_that_the_verdict_rests_on() -> None:
    numbers = ruling(comparison()).numbers
    assert (numbers["texts"], numbers["wins"], numbers["losses"], numbers["rows"]) == (200, 60, 20, 2000)
    assert numbers["nats_saved"] == pytest.approx(numbers["nats_before"] - numbers["nats_after"])
    assert numbers["perplexity_before"] == pytest.approx(math.exp(numbers["nats_before"]))
    assert numbers["accuracy_after"] - numbers["accuracy_before"] == pytest.approx(numbers["delta"])
    assert numbers["nats_saved_low"] < numbers["nats_saved"] < numbers["nats_saved_high"]


@given(
    nats=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=6),
    more=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=6),
    right=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12),
)
def test_whatever_was_measured_there_is_a_verdict_and_too_little_is_never_a_promotion(
    nats: list[float], more: list[float], right: list[tuple[bool, bool]]
) -> None:
    rows = min(len(nats), len(more))
    before, after = (np.array(each[:rows], np.float64) for each in (nats, more))
    pairs = np.array(right, np.bool_).reshape(-1, 2)
    with np.errstate(all="ignore"):
        found = ruling(Comparison(Guesses(before, after, np.ones(rows, np.int64)), pairs[:, 0], pairs[:, 1]))
    # Twelve answers can prove nothing.
    assert found.verdict is not Verdict.PROMOTE
    assert found.reasons
