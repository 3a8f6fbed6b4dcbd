"""What a run comes to, for models whose knowledge is written down beforehand."""

from collections.abc import Sequence

import pytest
from scipy.stats import t as student

from bench.loop.measures import Estimate, Outcome, estimate, figure, measure
from bench.loop.playing import Played
from bench.loop.stream import Stream
from services.control.backtest.judging import BASELINE, Floats
from tests.unit.bench.loop.builders import answers, two_domains

STREAM = two_domains()
FIRST, SECOND = STREAM.domains[0], STREAM.domains[-1]
BOTH = f"{FIRST}+{SECOND}"


def answer(model: str, texts: Sequence[str]) -> Floats:
    """A model knows the domains that it is named after; the baseline none."""
    return answers(model.split("+"), texts)


def outcome(*serving: str, stream: Stream = STREAM) -> Outcome:
    return measure(Played(serving, trainings=6, row_passes=100.0, seconds=1.5), stream, answer)


def test_accuracy_is_of_the_model_in_service_before_the_window_and_by_true_labels() -> None:
    result = outcome(FIRST, FIRST, FIRST, SECOND, SECOND, BOTH)
    assert STREAM.flipped
    assert result.by_window == (0, 1, 1, 0, 1, 1)
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.unserved == 1


def test_what_keeps_the_first_domain_has_forgotten_nothing() -> None:
    result = outcome(FIRST, FIRST, FIRST, SECOND, SECOND, BOTH)
    assert (result.backward_transfer, result.forgotten, result.final_accuracy) == (0, 0, 1)


def test_what_loses_the_first_domain_has_forgotten_it() -> None:
    result = outcome(FIRST, FIRST, FIRST, SECOND, SECOND, SECOND)
    assert (result.backward_transfer, result.forgotten, result.final_accuracy) == (-1, 1, 0.5)


def test_what_learns_the_first_domain_late_has_gained_and_what_it_lost_in_between_counts_only_if_it_ends_lost() -> None:
    result = outcome(FIRST, FIRST, BASELINE, SECOND, SECOND, BOTH)
    assert (result.backward_transfer, result.forgotten) == (1, 0)
    assert outcome(FIRST, FIRST, BASELINE, SECOND, SECOND, SECOND).forgotten == 1


def test_a_promotion_is_harmful_by_all_domains_met_so_far() -> None:
    result = outcome(FIRST, FIRST, FIRST, SECOND, BOTH, SECOND)
    # Baseline to first: +1. First to second, both met: 0. Second to both: +.5. Both to second: -.5.
    assert (result.promotions, result.harmful, result.worst) == (4, 1, -0.5)
    assert outcome(SECOND, SECOND, SECOND, SECOND, SECOND, SECOND).harmful == 0  # unmet domains do not count


def test_who_is_never_promoted_is_never_harmful() -> None:
    result = outcome(*[BASELINE] * 6)
    assert (result.promotions, result.harmful, result.worst, result.accuracy, result.unserved) == (0, 0, 0.0, 0.0, 6)
    assert (result.trainings, result.row_passes, result.seconds) == (6, 100.0, 1.5)


def test_an_interval_is_students() -> None:
    found = estimate([1.0, 2.0, 6.0])
    assert found.mean == 3.0
    assert found.half == pytest.approx(student.ppf(0.975, 2) * (7.0 / 3) ** 0.5)
    assert estimate([2.0]) == Estimate(2.0, 0.0)


def test_the_worst_promotion_is_the_worst_of_all_streams() -> None:
    harmed, unharmed = outcome(FIRST, FIRST, FIRST, SECOND, BOTH, SECOND), outcome(*[FIRST] * 6)
    assert figure([harmed, unharmed], "worst") == Estimate(-0.5, 0.0)
    assert figure([harmed, unharmed], "harmful").mean == 0.5
