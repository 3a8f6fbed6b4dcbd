"""How a service lives: settings, logs, health, signals, its loops, a bounded drain, and an exit code that says why."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry

from shared.errors import ConfigurationError, ExitCode, FatalError, RetryableError
from shared.health import Health, HealthServer
from shared.logs import configure_logging
from shared.metrics import ServiceMetrics
from shared.retry import Backoff, Stopped, retrying
from shared.settings import Settings, load_settings

log = structlog.get_logger("service")


@dataclass(frozen=True)
class Context:
    """What a service's parts share."""

    settings: Settings
    registry: CollectorRegistry
    metrics: ServiceMetrics
    health: Health
    stopping: threading.Event


class Loop(Protocol):
    """One endless job, cut into steps that are each safe to end after."""

    def step(self) -> None:
        """Does one bounded piece of work. A RetryableError repeats it after a wait."""

    def close(self) -> None:
        """Lets go of connections; called once, after the last step."""


Build = Callable[[Context], Loop]


def main(name: str, loops: Mapping[str, Build]) -> None:
    """Runs a service until a signal or a fatal error, then exits with the reason's code."""
    try:
        settings = load_settings()
        configure_logging(settings.service, name)
        code = run(name, settings, loops)
    except ConfigurationError as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(int(code))


def run(name: str, settings: Settings, loops: Mapping[str, Build]) -> ExitCode:
    """Runs each loop in a thread of its own; the first that ends in an error ends all.

    Returns: why it ended. Raises nothing that a loop raised: it is logged and becomes the code.
    """
    context = _context(settings)
    _stop_on_signals(context.stopping)
    server = HealthServer(settings.service.host, settings.service.metrics_port, context.health, context.registry)
    log.info("started", service=name, metrics_port=server.port)
    runners = [_Runner(part, build, context) for part, build in loops.items()]
    for runner in runners:
        runner.start()
    context.stopping.wait()
    _drain(runners, settings.service.drain_seconds)
    server.close()
    code = max((runner.code for runner in runners), default=ExitCode.STOPPED)
    log.info("stopped", service=name, exit_code=int(code), reason=code.name.lower())
    return code


def _context(settings: Settings) -> Context:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    return Context(settings, registry, metrics, Health(metrics), threading.Event())


def _stop_on_signals(stopping: threading.Event) -> None:
    """The first signal asks for a drained stop, the second ends the process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _drain(runners: list["_Runner"], seconds: float) -> None:
    """Waits for the loops to end; past the bound the process ends anyway: every step may be killed safely."""
    bound = threading.Timer(seconds, _give_up, [seconds])
    bound.daemon = True
    bound.start()
    for runner in runners:
        runner.join()
    bound.cancel()


def _give_up(seconds: float) -> None:
    log.error("drain_timed_out", seconds=seconds)
    os._exit(ExitCode.CRASHED)


class _Runner(threading.Thread):
    """Builds one loop and turns it until told to stop."""

    def __init__(self, part: str, build: Build, context: Context) -> None:
        super().__init__(name=part, daemon=True)
        self._part, self._build, self._context = part, build, context
        self.code = ExitCode.STOPPED
        context.health.begin(part)

    def run(self) -> None:
        try:
            self._turn()
        except Stopped:
            pass
        except FatalError as error:
            self.code = error.exit_code
            log.error("fatal", part=self._part, error=str(error), exit_code=int(self.code))
        except Exception:
            self.code = ExitCode.CRASHED
            log.exception("crashed", part=self._part)
        finally:
            self._context.stopping.set()

    def _turn(self) -> None:
        context = self._context
        patience = context.settings.kafka.startup_patience_seconds
        loop = retrying(
            lambda: self._build(context), f"starting {self._part}", context.stopping, patience, self._waiting
        )
        try:
            self._steps(loop)
        finally:
            self._close(loop)

    def _steps(self, loop: Loop) -> None:
        context, backoff = self._context, Backoff(self._context.stopping)
        while not context.stopping.is_set():
            try:
                loop.step()
                backoff.reset()
                context.health.ready(self._part)
            except RetryableError as error:
                log.warning("waiting", part=self._part, error=str(error))
                self._waiting(error)
                backoff.wait()
            context.health.pulse(self._part)

    def _waiting(self, error: RetryableError) -> None:
        self._context.metrics.retries.inc()
        self._context.health.not_ready(self._part, str(error))
        self._context.health.pulse(self._part)

    def _close(self, loop: Loop) -> None:
        try:
            loop.close()
        except RetryableError as error:
            log.warning("closing", part=self._part, error=str(error))
