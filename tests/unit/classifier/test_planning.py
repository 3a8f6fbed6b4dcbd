"""The fastest plan that agrees is taken: told with fake clocks and fake answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.classifier.plan import PRECISIONS, Plan, PlanPrecision
from shared.classifier.planning import (
    Agreement,
    Tried,
    candidates,
    choose,
    in_order,
    race,
    speeds,
    texts_of,
    texts_up_to,
)
from shared.classifier.predictor import Scores
from shared.errors import DeviceLostError, ModelError
from shared.plan_settings import PlanSettings

BOUNDS = PlanSettings()
EXACT, BF16, INT8 = (Plan("torch", precision, threads=2, token_budget=512) for precision in PRECISIONS)
GOOD = Agreement(400, labels=1.0, largest_difference=0.01, brier_rise=0.0)
BAD = Agreement(400, labels=0.9, largest_difference=0.01, brier_rise=0.0)


@dataclass
class FakeClock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Contestant:
    """Takes so many seconds for each text."""

    clock: FakeClock
    seconds: float
    calls: list[int] = field(default_factory=list)
    failure: Exception = field(default_factory=lambda: RuntimeError("no instructions for this"))

    def predict(self, texts: Sequence[str]) -> Scores:
        self.calls.append(len(texts))
        self.clock.now += self.seconds * len(texts)
        if self.seconds < 0:
            raise self.failure
        return scores([0.5] * len(texts))


def scores(positive: Sequence[float]) -> Scores:
    return Scores.from_probabilities(("n", "p"), np.array([[1 - each, each] for each in positive]))


def race_of(**seconds: float) -> tuple[dict[Plan, float], dict[Plan, Contestant]]:
    clock = FakeClock()
    plans = {"exact": EXACT, "bf16": BF16, "int8": INT8}
    contestants = {plans[name]: Contestant(clock, each) for name, each in seconds.items()}
    return race(contestants, EXACT, ["a", "bb", "cc"], BOUNDS, clock=clock), contestants


def test_everyone_answers_the_same_texts_and_is_timed() -> None:
    found, _ = race_of(exact=0.2, bf16=0.1, int8=0.14)
    assert found == pytest.approx({EXACT: 0.6, BF16: 0.3, INT8: 0.42})


def test_who_emulates_is_given_up_after_its_first_text() -> None:
    found, contestants = race_of(exact=0.1, bf16=1.2)
    assert found[BF16] == float("inf")
    assert contestants[BF16].calls == [1, 1]


def test_who_fails_is_given_up_and_the_others_go_on() -> None:
    found, _ = race_of(exact=0.1, bf16=-1, int8=0.05)
    assert (found[BF16], found[INT8]) == (float("inf"), pytest.approx(0.15))


def test_no_plan_is_blamed_for_a_lost_gpu() -> None:
    clock, lost = FakeClock(), DeviceLostError("the GPU computes nothing more")
    contestants = {EXACT: Contestant(clock, 0.1), BF16: Contestant(clock, -1, failure=lost)}
    with pytest.raises(DeviceLostError):
        race(contestants, EXACT, ["a"], BOUNDS, clock=clock)


def test_who_lags_behind_the_fastest_is_timed_no_further() -> None:
    _, contestants = race_of(exact=0.2, bf16=0.1)
    assert contestants[EXACT].calls.count(3) == 1
    assert contestants[BF16].calls.count(3) > 1


def test_the_race_ends_when_its_time_is_spent() -> None:
    _, contestants = race_of(exact=BOUNDS.timing_seconds, bf16=BOUNDS.timing_seconds)
    assert contestants[EXACT].calls == [1, 1, 3]


def test_a_step_waits_for_its_turn() -> None:
    clock, turns = FakeClock(), list[float]()

    def turn(call: object) -> None:
        turns.append(clock.now)
        clock.now += 100  # somebody else's time
        call()  # type: ignore[operator]

    found = race({EXACT: Contestant(clock, 0.1)}, EXACT, ["a"], BOUNDS, turn, clock)
    assert found[EXACT] == pytest.approx(0.1)
    assert len(turns) > 2


@given(st.dictionaries(st.sampled_from([EXACT, BF16, INT8]), st.floats(0.1, 10), min_size=1))
def test_each_plan_is_in_the_order_once_and_none_before_a_much_faster_one(seconds: dict[Plan, float]) -> None:
    order = in_order(seconds, tie_share=0.05)
    assert sorted(each.id for each in order) == sorted(each.id for each in seconds)
    for before, after in pairwise(order):
        assert seconds[before] <= seconds[after] * 1.05 + 1e-9


def test_of_plans_as_fast_as_each_other_the_more_exact_goes_first() -> None:
    assert in_order({EXACT: 1.04, BF16: 1.0, INT8: 1.02}, tie_share=0.05) == [EXACT, BF16, INT8]
    assert in_order({EXACT: 1.06, BF16: 1.0, INT8: 0.99}, tie_share=0.05)[0] == BF16


def test_one_that_was_given_up_is_in_no_order() -> None:
    assert in_order({EXACT: 1.0, BF16: float("inf")}, tie_share=0.05) == [EXACT]


def outcome(agreements: dict[PlanPrecision, Agreement], order: Sequence[Plan] = (INT8, BF16, EXACT)) -> list[Tried]:
    asked: list[Plan] = []

    def judge(plan: Plan) -> Agreement:
        asked.append(plan)
        if plan.precision not in agreements:
            raise ModelError("it answers nonsense")
        return agreements[plan.precision]

    speed = speeds({EXACT: 4.0, BF16: 2.0, INT8: 1.0}, EXACT)
    found = choose(order, speed, judge, BOUNDS)
    assert [each.plan for each in found if each.chosen] == [next(each.plan for each in found if each.refusal is None)]
    assert EXACT not in asked
    return found


def test_the_fastest_that_agrees_is_chosen_and_slower_ones_are_not_judged() -> None:
    exact, bf16, int8 = outcome({"int8": GOOD})
    assert (int8.chosen, int8.speed, int8.agreement) == (True, 4.0, GOOD)
    assert (bf16.agreement, bf16.refusal) == (None, "another goes before it")
    assert exact.speed == 1.0


def test_one_whose_answers_differ_does_not_serve_however_fast() -> None:
    _, bf16, int8 = outcome({"int8": BAD, "bf16": GOOD})
    assert bf16.chosen
    assert int8.refusal == "labels agree on 90.00% of rows"


def test_if_none_agrees_or_can_be_asked_fp32_serves() -> None:
    exact, bf16, int8 = outcome({"int8": BAD})
    assert (exact.chosen, bf16.refusal) == (True, "it answers nonsense")
    assert int8.agreement == BAD


def test_one_that_is_out_of_the_race_is_said_to_be() -> None:
    _, bf16, int8 = outcome({"int8": GOOD}, order=(INT8, EXACT))
    assert (bf16.refusal, int8.chosen) == ("fails, or is hopelessly slow", True)


def test_agreement_is_of_labels_scores_and_brier() -> None:
    found = Agreement.of(scores([0.9, 0.4, 0.6, 0.2]), scores([0.9, 0.6, 0.6, 0.2]), np.array([1, 0, 1, 0]))
    assert (found.rows, found.labels) == (4, 0.75)
    assert found.largest_difference == pytest.approx(0.2)
    assert found.brier_rise == pytest.approx((0.6**2 - 0.4**2) / 4)


@pytest.mark.parametrize(
    ("agreement", "words"),
    [
        (Agreement(400, 0.994, 0.0, 0.0), "labels agree"),
        (Agreement(400, 1.0, 0.11, 0.0), "a score differs"),
        (Agreement(400, 1.0, 0.0, 0.0021), "Brier rises"),
        (Agreement(400, float("nan"), 0.0, 0.0), "labels agree"),
        (Agreement(400, 1.0, float("nan"), 0.0), "a score differs"),
        (Agreement(400, 1.0, 0.0, float("nan")), "Brier rises"),
    ],
)
def test_each_bound_is_one_that_keeps_a_plan_out(agreement: Agreement, words: str) -> None:
    assert words in (agreement.refusal(BOUNDS) or "")


def test_at_the_bounds_a_plan_may_serve() -> None:
    assert Agreement(400, 0.995, 0.1, 0.002).refusal(BOUNDS) is None


def test_candidates_begin_with_the_usual_plan_and_without_rows_to_judge_by_are_exact() -> None:
    usual = Plan("torch", "fp32", threads=2, token_budget=1024)
    found = candidates(usual, quantised=True)
    assert found[0] == usual
    assert len(set(found)) == len(found) == 6
    assert all(plan.is_exact for plan in candidates(usual, quantised=False))
    assert {plan.threads for plan in candidates(Plan("torch", "fp32", 8, 256), quantised=False)} == {8, 4}


@given(st.lists(st.integers(1, 3000), max_size=40), st.integers(1, 4096))
def test_texts_have_the_lengths_asked_for_and_stay_within_the_bound(lengths: list[int], characters: int) -> None:
    texts = texts_of(lengths, characters)
    assert texts
    if lengths:
        assert set(map(len, texts)) <= set(lengths)
        assert len(texts) == 1 or sum(map(len, texts)) <= characters


@given(st.lists(st.text(max_size=50), max_size=40), st.integers(1, 100))
def test_texts_come_in_order_some_at_a_time(texts: list[str], characters: int) -> None:
    batches = list(texts_up_to(texts, characters))
    assert [text for batch in batches for text in batch] == texts
    assert all(len(batch) == 1 or sum(map(len, batch)) <= characters for batch in batches)
