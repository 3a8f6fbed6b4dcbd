"""Runs a scorer in a process of its own, so that the service goes on polling, and torch never lives in it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Generic, Protocol, TypeVar

from services.evaluator.exam import Exam, Failure, Killed, Measured, Unusable
from shared.processes import die_with_parent
from shared.settings import Settings

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Found_co = TypeVar("Found_co", covariant=True)

Score = Callable[[Asked, Settings], Found | Failure]
"""A function of some module, by whose name the child finds it. The child pays for its imports: it makes its own."""


class Scoring(Protocol[Found_co]):
    """One exam under way."""

    def result(self) -> Found_co | Failure | None:
        """What came out, or None while it goes on. Never waits."""

    def close(self) -> None:
        """Ends it, whatever it is doing."""


class ScoringProcess(Generic[Asked, Found]):
    """One exam in one fresh process that dies with this one."""

    def __init__(self, score: Score[Asked, Found], exam: Asked, settings: Settings) -> None:
        """Starts the process; returns at once."""
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(score, exam, settings, sender, os.getpid()), name="scorer", daemon=True
        )
        self._process.start()
        sender.close()  # ours; once the child's is closed too, the pipe ends
        self._deadline = time.monotonic() + settings.evaluator.timeout_seconds

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    def result(self) -> Found | Failure | None:
        """What came out; one that ended by itself or hung makes the challenger unusable, for this attempt."""
        if self._receiver.poll():
            return self._received()
        if time.monotonic() > self._deadline:
            self._process.kill()
            return Unusable("scoring took too long and was ended (evaluator.timeout_seconds)")
        return None

    def close(self) -> None:
        """Ends the process at once; its answers so far are kept."""
        self._process.kill()
        self._process.join()
        self._receiver.close()

    def _received(self) -> Found | Failure:
        try:
            found: Found | Failure = self._receiver.recv()
        except EOFError:
            self._process.join()
            return _died(self._process.exitcode or 0)
        return found


def score_models(exam: Exam, settings: Settings) -> Measured | Failure:
    """Asks a challenger, those that wait, and what they are compared with."""
    from services.evaluator.scorer import examine
    from shared.registry import Registry

    return examine(exam, settings, Registry(settings))


def _died(code: int) -> Failure:
    if code < 0:
        return Killed(f"scoring was ended by signal {-code} ({signal.strsignal(-code)}), as where memory is short")
    return Unusable(f"scoring died with exit code {code}; the log says why")


def _work(score: Score[Asked, Found], exam: Asked, settings: Settings, sender: Connection, parent: int) -> None:
    """The child."""
    die_with_parent(parent)
    from shared.classifier.threads import use_threads
    from shared.logs import configure_logging

    configure_logging(settings.service, "evaluator.scorer")
    if settings.model.threads is not None:
        use_threads(settings.model.threads)
    sender.send(score(exam, settings))
