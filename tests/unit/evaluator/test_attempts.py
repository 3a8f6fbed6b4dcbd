"""A scoring is tried again where that may help; only what speaks against the candidate counts against it."""

import threading
from typing import Any
from unittest.mock import create_autospec

import pytest

from services.evaluator.attempts import Attempts
from services.evaluator.exam import Failure, Killed, Misconfigured, Unavailable, Unusable
from services.evaluator.launcher import Scoring
from shared.errors import ConfigurationError, RetryableError
from shared.retry import Backoff
from shared.settings import EvaluatorSettings

SETTINGS = EvaluatorSettings(attempts=2, killed_attempts=3)


class Under:
    """Scoring that takes two looks."""

    def __init__(self, found: str | Failure) -> None:
        self._found, self._looks = found, 0
        self.closed = False

    def result(self) -> str | Failure | None:
        self._looks += 1
        return self._found if self._looks > 1 else None

    def close(self) -> None:
        self.closed = True


class Tried:
    """Attempts at one exam, all scorings that were started, and the waits."""

    def __init__(self, *results: str | Failure) -> None:
        self._results = iter(results)
        self.started: list[Under] = []
        self.backoff: Any = create_autospec(Backoff(threading.Event()))
        self.attempts = Attempts[str, str](self._launch, SETTINGS, self.backoff, "version 2")

    def _launch(self, exam: str) -> Scoring[str]:
        assert exam == "exam"
        self.started.append(Under(next(self._results)))
        return self.started[-1]

    def outcome(self) -> str | Unusable:
        while (found := self.attempts.result("exam")) is None:
            pass
        return found


def test_what_came_out_is_handed_on_and_the_process_is_ended() -> None:
    tried = Tried("measured")
    assert tried.attempts.result("exam") is None
    assert tried.outcome() == "measured"
    assert [each.closed for each in tried.started] == [True]
    tried.backoff.reset.assert_called_once_with()


def test_a_candidate_that_fails_every_time_is_unusable() -> None:
    tried = Tried(Unusable("odd"), Unusable("odd again"))
    assert tried.outcome() == Unusable("odd again")
    assert len(tried.started) == SETTINGS.attempts


def test_one_that_fails_once_is_scored_like_any_other() -> None:
    assert Tried(Unusable("odd"), "measured").outcome() == "measured"


@pytest.mark.parametrize("found", [Unavailable("no MLflow"), Killed("signal 9")])
def test_what_says_nothing_is_put_off_with_a_wait_before_the_next(found: Failure) -> None:
    tried = Tried(found, "measured")
    tried.attempts.wait()
    tried.backoff.wait.assert_not_called()
    with pytest.raises(RetryableError, match="version 2 cannot be scored yet"):
        tried.outcome()
    for _ in range(2):
        tried.attempts.wait()
    tried.backoff.wait.assert_called_once_with()
    assert tried.outcome() == "measured"


def test_one_that_kills_its_scorer_every_time_is_unusable_in_the_end() -> None:
    tried = Tried(*[Killed("signal 9")] * 3)
    for _ in range(2):
        with pytest.raises(RetryableError):
            tried.outcome()
    assert tried.outcome() == Unusable("signal 9; 3 times")


def test_settings_with_which_nobody_can_be_scored_end_the_service() -> None:
    with pytest.raises(ConfigurationError, match="no such baseline"):
        Tried(Misconfigured("no such baseline")).outcome()


def test_closing_ends_what_is_under_way() -> None:
    tried = Tried("measured")
    tried.attempts.result("exam")
    tried.attempts.close()
    assert tried.started[0].closed
