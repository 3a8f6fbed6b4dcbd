import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.server.tally import Counts, Pair, Tally
from shared.canary_settings import CanarySettings

SETTINGS = CanarySettings(judged_after=20, max_failure_share=0.1)


def test_everything_is_counted_once() -> None:
    tally = Tally()
    tally.answered(3)
    tally.failed()
    tally.paired(Pair(agrees=True, difference=0.25, seconds=2.0, champion_seconds=1.0))
    tally.paired(Pair(agrees=False, difference=0.5, seconds=2.0, champion_seconds=1.0))
    tally.paired(Pair(agrees=True, difference=0.0, seconds=9.0, champion_seconds=1.0, is_timed=False))
    assert tally.counts == Counts(
        asked=5,
        failures=1,
        answers=3,
        compared=3,
        timed=2,
        disagreements=1,
        score_difference=0.75,
        seconds=4.0,
        champion_seconds=2.0,
    )


def test_two_stays_are_told_apart() -> None:
    assert Tally().session_id != Tally().session_id


@given(st.integers(0, 100), st.integers(0, 100))
def test_too_many_failures_are_trouble_and_too_few_questions_are_not(asked: int, failures: int) -> None:
    trouble = Counts(asked=asked, failures=min(asked, failures)).trouble(SETTINGS)
    assert (trouble is not None) == (asked >= 20 and min(asked, failures) > 0.1 * asked)


@pytest.mark.parametrize("failures", [3, 20])
def test_the_trouble_says_both_numbers(failures: int) -> None:
    assert Counts(asked=20, failures=failures).trouble(SETTINGS) == f"failed {failures} times of 20, more than 10.0%"
