"""How MLflow is called: its client's environment, and our own bounded, stoppable retries in place of its own."""

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import structlog

from shared.errors import ConfigurationError, RegistryRefusedError, RegistryUnavailableError
from shared.retry import Backoff
from shared.settings import RegistrySettings, Settings

log = structlog.get_logger("registry")
Value = TypeVar("Value")

TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
# Read by MLflow's client while it is imported, or at each request: import it after these are set.
# Its own retries go on for minutes and hear of no stop.
CLIENT_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

# Turns what MLflow's client raises into our errors; the text says what was being done.
Errors = Callable[[str], AbstractContextManager[None]]


def server_address(settings: Settings) -> str:
    """The tracking server's address, without a slash at its end.

    Raises: ConfigurationError if it is not that of a server.
    """
    uri = settings.tracking_uri()
    if not uri.startswith(("http://", "https://")):
        raise ConfigurationError(f"registry.tracking_uri must be the http(s) address of an MLflow server, not {uri!r}")
    return uri.rstrip("/")


def experiment_name(settings: Settings) -> str:
    """The stream's experiment: two streams in one MLflow have two."""
    prefix, name = settings.stream.prefix, settings.registry.experiment
    return f"{prefix}.{name}" if prefix else name


class MissingError(RegistryRefusedError):
    """What was asked for does not exist."""


class Calls:
    """Calls MLflow at one address; a call is repeated as a whole, so it must be one that may be."""

    def __init__(self, uri: str, settings: RegistrySettings, stopping: threading.Event, errors: Errors) -> None:
        self._uri, self._stopping, self._errors, self._attempts = uri, stopping, errors, settings.attempts
        self._timeouts = _Timeouts(settings)

    def once(self, doing: str, call: Callable[[], Value]) -> Value:
        """Raises RegistryUnavailableError or RegistryRefusedError in place of what MLflow's client raises."""
        with self._errors(f"{doing} (MLflow at {self._uri})"):
            return call()

    def repeated(self, doing: str, call: Callable[[], Value]) -> Value:
        """As `once`, but an unavailable MLflow is asked again, up to the number of attempts in the settings.

        Raises:
            Stopped: A stop was asked for while waiting.
        """
        backoff = Backoff(self._stopping)
        for left in range(self._attempts - 1, 0, -1):
            try:
                return self.once(doing, call)
            except RegistryUnavailableError as error:
                log.debug("retrying", error=str(error), attempts_left=left)
            backoff.wait()
        return self.once(doing, call)

    def if_there(self, doing: str, call: Callable[[], Value]) -> Value | None:
        """As `repeated`, but None if what was asked for does not exist."""
        try:
            return self.repeated(doing, call)
        except MissingError:
            return None

    def transferring(self, doing: str, call: Callable[[], Value]) -> Value:
        """As `repeated`, with the patience that files need."""
        with self._timeouts.for_transfer():
            return self.repeated(doing, call)


class _Timeouts:
    """MLflow takes one timeout for the whole process from the environment; transfers need a longer one than calls.

    While a transfer runs, calls of other threads wait as long as it may: harmless, a server that is gone refuses
    at once.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._usual, self._longer = _whole(settings.timeout_seconds), _whole(settings.upload_timeout_seconds)
        self._lock, self._transfers = threading.Lock(), 0
        self._apply()

    @contextmanager
    def for_transfer(self) -> Iterator[None]:
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._transfers += change
            self._apply()

    def _apply(self) -> None:
        os.environ[TIMEOUT_VARIABLE] = self._longer if self._transfers else self._usual


def _whole(seconds: float) -> str:
    # MLflow reads an integer.
    return str(max(1, math.ceil(seconds)))
