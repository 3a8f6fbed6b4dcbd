"""Keeps a stack's processes running: `python -m deploy.local.supervisor --home H`, in a session of its own.

It starts each process when those before it are ready, starts a dead one again with back-off, bounds their logs, writes
what it knows to `endpoints.json`, and on SIGTERM stops everything in order. Its own end, of whatever kind, is the end
of all of them.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from deploy.local import marked
from deploy.local.child import Child
from deploy.local.endpoints import Endpoints
from deploy.local.guardian import DRAIN_SECONDS
from deploy.local.holder import only_one
from deploy.local.log_files import bound
from deploy.local.process import PYTHON_MODULE
from deploy.local.specs import ProcessSpec, Stage
from shared.errors import ConfigurationError, ExitCode

LOGS = "logs"
EAGER_SECONDS = 0.1
CALM_SECONDS = 0.5
LEFTOVER_SECONDS = 10.0


class Supervisor:
    """Owns the stack's processes from `run` until it returns."""

    def __init__(self, home: Path, specs: Sequence[ProcessSpec], endpoints: Endpoints) -> None:
        self._logs = home / LOGS
        self._logs.mkdir(parents=True, exist_ok=True)
        self.stopping = threading.Event()
        self._home, self._endpoints, self._run = home, endpoints, uuid.uuid4().hex
        self._children = [Child(spec, self._logs, marked.mark(home, self._run, spec.name), say) for spec in specs]

    def run(self) -> None:
        """Starts everything and keeps it running until `stopping` is set; then stops everything."""
        for left in marked.sweep(self._home, LEFTOVER_SECONDS):
            say(f"ended what an earlier supervisor left: {left}")
        with _guardian(self._home, self._run):
            try:
                while not self.stopping.is_set():
                    self._tick()
                    self.stopping.wait(CALM_SECONDS if self._endpoints.all_up else EAGER_SECONDS)
            finally:
                self._stop()

    def _tick(self) -> None:
        up = {child.spec.name for child in self._children if child.state.is_up}
        for child in self._children:
            child.tick(time.monotonic(), up)
        for trouble in bound(self._logs):
            say(trouble)
        self._publish()

    def _publish(self) -> None:
        states = {child.spec.name: child.state for child in self._children}
        if states != self._endpoints.processes:
            self._endpoints = self._endpoints.model_copy(update={"processes": states})
            self._endpoints.write(self._home)

    def _stop(self) -> None:
        """Users before what they use; within a stage all at once."""
        for stage in Stage:
            children = [child for child in self._children if child.spec.stage is stage]
            deadline = time.monotonic() + DRAIN_SECONDS
            for child in children:
                child.terminate()
            for child in children:
                child.end(deadline - time.monotonic())
                self._publish()
        for left in marked.sweep(self._home, LEFTOVER_SECONDS):
            say(f"ended what a process left behind: {left}")
        self._endpoints = self._endpoints.model_copy(update={"supervisor_pid": None})
        self._endpoints.write(self._home)


def say(text: str) -> None:
    """One line in the supervisor's log."""
    print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}", flush=True)


@contextmanager
def _guardian(home: Path, run: str) -> Iterator[None]:
    """A process that outlives a killed supervisor by just as long as it takes to end the rest."""
    command = [*PYTHON_MODULE, "deploy.local.guardian", str(home), run]
    guardian = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        guardian.communicate()


def _stop_on_signals(stopping: threading.Event) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)


def serve(home: Path, plan: Callable[[], tuple[Sequence[ProcessSpec], Endpoints]]) -> None:
    """Runs a supervisor on this home until a signal.

    Args:
        home: Existing folder.
        plan: Makes the processes and addresses, once the home is ours.

    Raises:
        ConfigurationError: Another supervisor holds the home.
    """
    with only_one(home):
        specs, endpoints = plan()
        endpoints = endpoints.model_copy(update={"supervisor_pid": os.getpid(), "processes": {}})
        endpoints.write(home)
        supervisor = Supervisor(home, specs, endpoints)
        _stop_on_signals(supervisor.stopping)
        say(f"supervising {', '.join(spec.name for spec in specs)}")
        supervisor.run()
        say("everything has ended")


def main() -> None:
    """Supervises the stack of Tidemill."""
    from deploy.local.plan import plan  # what runs is data of its own; this module runs any

    parser = argparse.ArgumentParser(prog="deploy.local.supervisor")
    parser.add_argument("--home", type=Path, required=True, help="folder for all state of the stack")
    home = parser.parse_args().home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    try:
        serve(home, lambda: plan(home))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(ExitCode.MISCONFIGURED)


if __name__ == "__main__":
    main()
