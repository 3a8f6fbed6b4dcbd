"""One exam's scoring, as often as it takes: what speaks against whoever is on trial, and what only says "not now"."""

from collections.abc import Callable
from typing import Generic

import structlog

from services.evaluator.exam import Killed, Misconfigured, Unavailable, Unusable
from services.evaluator.launcher import Asked, Found, Scoring
from shared.errors import ConfigurationError, RetryableError
from shared.retry import Backoff
from shared.settings import EvaluatorSettings

log = structlog.get_logger("attempts")


class Attempts(Generic[Asked, Found]):
    """Scorings of one candidate, one after the other until one counts."""

    def __init__(
        self, launch: Callable[[Asked], Scoring[Found]], settings: EvaluatorSettings, backoff: Backoff, about: str
    ) -> None:
        """Args: about: whom they are about, for messages."""
        self._launch, self._settings, self._backoff, self._about = launch, settings, backoff, about
        self._scoring: Scoring[Found] | None = None
        self._failures = self._kills = 0
        self._put_off = False

    def wait(self) -> None:
        """Waits if the last one was put off, longer each time. Until it is over, the service says it is not ready."""
        if self._put_off:
            self._put_off = False
            self._backoff.wait()

    def result(self, exam: Asked) -> Found | Unusable | None:
        """What came out; Unusable when nothing ever will; None while it goes on, or is to be tried again at once.

        Raises:
            RetryableError: It says nothing about the candidate: look again, with a wait before.
            ConfigurationError: Nobody can be scored with these settings.
        """
        if self._scoring is None:
            self._scoring = self._launch(exam)
        found = self._scoring.result()
        if found is None:
            return None
        self.close()
        if isinstance(found, Unusable):
            return self._failed(found)
        if isinstance(found, Killed):
            return self._killed(found)
        if isinstance(found, Unavailable):
            raise self._not_yet(found.reason)
        if isinstance(found, Misconfigured):
            raise ConfigurationError(found.reason)
        self._backoff.reset()
        return found

    def close(self) -> None:
        """Ends the scoring if there is any."""
        if self._scoring is not None:
            self._scoring.close()
            self._scoring = None

    def _failed(self, found: Unusable) -> Unusable | None:
        self._failures += 1
        log.warning("unusable", about=self._about, reason=found.reason, attempt=self._failures)
        return found if self._failures >= self._settings.attempts else None

    def _killed(self, found: Killed) -> Unusable:
        """Tried again after a while, when memory may be there again; who kills its scorer every time is unusable."""
        self._kills += 1
        most = self._settings.killed_attempts
        if self._kills >= most:
            return Unusable(f"{found.reason}; {self._kills} times")
        raise self._not_yet(f"{found.reason}; attempt {self._kills} of {most}, which says nothing about it yet")

    def _not_yet(self, reason: str) -> RetryableError:
        self._put_off = True
        return RetryableError(f"{self._about} cannot be scored yet: {reason}")
