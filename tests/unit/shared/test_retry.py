"""Waiting doubles up to a bound, ends at once on a stop, and gives up when patience is spent."""

import threading

import pytest

from shared.errors import BrokerUnavailableError, ConfigurationError, UnreachableError
from shared.retry import Backoff, Stopped, retrying


class ImpatientEvent(threading.Event):
    """Records how long it was asked to wait instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def failing(times: int) -> "list[Exception]":
    return [BrokerUnavailableError("not yet") for _ in range(times)]


def call_from(errors: list[Exception]) -> str:
    if errors:
        raise errors.pop()
    return "done"


def test_it_tries_until_it_succeeds() -> None:
    stopping, errors, seen = ImpatientEvent(), failing(3), []
    assert retrying(lambda: call_from(errors), "connecting", stopping, on_retry=seen.append) == "done"
    assert len(seen) == len(stopping.waits) == 3


def test_waits_double_up_to_the_bound() -> None:
    stopping = ImpatientEvent()
    backoff = Backoff(stopping, longest_seconds=1.0)
    for _ in range(5):
        backoff.wait()
    expected = (0.25, 0.5, 1, 1, 1)
    assert all(0.75 * e <= wait <= 1.25 * e for wait, e in zip(stopping.waits, expected, strict=True))


def test_a_success_starts_over() -> None:
    stopping = ImpatientEvent()
    backoff = Backoff(stopping)
    for _ in range(4):
        backoff.wait()
    backoff.reset()
    backoff.wait()
    assert stopping.waits[-1] <= 0.25 * 1.25


def test_a_stop_ends_the_wait() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Stopped):
        retrying(lambda: call_from(failing(1)), "connecting", stopping)


def test_patience_ends_with_what_was_tried_and_why() -> None:
    with pytest.raises(UnreachableError, match="connecting.*not yet"):
        retrying(lambda: call_from(failing(1)), "connecting", ImpatientEvent(), patience_seconds=0)


def test_other_errors_are_not_retried() -> None:
    with pytest.raises(ConfigurationError):
        retrying(lambda: call_from([ConfigurationError("no")]), "connecting", ImpatientEvent())
