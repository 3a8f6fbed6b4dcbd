"""Waiting for what is not there yet: back-off that a stop ends at once."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from shared.errors import RetryableError, UnreachableError

log = structlog.get_logger("retry")
Value = TypeVar("Value")

FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 10.0
JITTER_SHARE = 0.25


class Stopped(Exception):
    """A stop was asked for while waiting."""


class Backoff:
    """Waits that double up to a bound, with jitter so that restarted services do not knock together."""

    def __init__(self, stopping: threading.Event, longest_seconds: float = LONGEST_WAIT_SECONDS) -> None:
        self._stopping, self._longest, self._next = stopping, longest_seconds, FIRST_WAIT_SECONDS

    def wait(self) -> None:
        """Waits the next while.

        Raises:
            Stopped: A stop was asked for.
        """
        seconds = self._next * (1 + random.uniform(-JITTER_SHARE, JITTER_SHARE))
        self._next = min(self._next * 2, self._longest)
        if self._stopping.wait(seconds):
            raise Stopped

    def reset(self) -> None:
        """Starts over after a success."""
        self._next = FIRST_WAIT_SECONDS


def retrying(
    call: Callable[[], Value],
    doing: str,
    stopping: threading.Event,
    patience_seconds: float = float("inf"),
    on_retry: Callable[[RetryableError], None] = lambda error: None,
) -> Value:
    """Calls until it succeeds, waiting between tries as long as the error is retryable.

    Raises:
        Stopped: A stop was asked for.
        UnreachableError: Still failing after `patience_seconds`.
    """
    backoff, end = Backoff(stopping), time.monotonic() + patience_seconds
    while True:
        try:
            return call()
        except RetryableError as error:
            if time.monotonic() >= end:
                raise UnreachableError(f"{doing}: gave up after {patience_seconds:.0f} s: {error}") from error
            log.warning("waiting", doing=doing, error=str(error))
            on_retry(error)
            backoff.wait()
