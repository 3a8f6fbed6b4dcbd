"""Starting, watching and stopping a whole local stack from another process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from deploy.local import marked, supervisor
from deploy.local.endpoints import Endpoints, read_endpoints
from deploy.local.holder import holder
from deploy.local.process import PYTHON_MODULE
from shared.errors import ConfigurationError, UnreachableError

SUPERVISOR = "deploy.local.supervisor"
UP_SECONDS = 300.0
# Services, MLflow and Kafka each have the drain time, one after the other.
DOWN_SECONDS = 120.0
LOOK_SECONDS = 0.1
# Deaths of one process after which a start has failed; the supervisor itself goes on trying.
HOPELESS_RESTARTS = 3
LAST_LINES = 15

OnChange = Callable[[Endpoints], None]


def _ignore(endpoints: Endpoints) -> None:
    """Nobody watches."""


class Stack:
    """The local stack on one home folder. Any process may hold one; the supervisor is the stack's own process.

    >>> stack = Stack(Path(".tidemill"))                                      # doctest: +SKIP
    >>> stack.up(on_change=show).server_url                                   # doctest: +SKIP
    'http://127.0.0.1:24817'
    >>> stack.down()                                                          # doctest: +SKIP
    """

    def __init__(self, home: Path, supervisor_module: str = SUPERVISOR) -> None:
        self.home = home.resolve()
        self._supervisor_module = supervisor_module
        self._launched: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a supervisor is alive on this home."""
        return holder(self.home) is not None

    def endpoints(self) -> Endpoints:
        """Addresses and states of the running stack.

        Raises:
            UnreachableError: None is running.
        """
        endpoints = read_endpoints(self.home)
        if endpoints is None or not self.is_running:
            raise UnreachableError(f"no stack is running on {self.home}; start it with 'tidemill up'")
        return endpoints

    def log(self, name: str) -> Path:
        """The log file of a process of the stack, or of `supervisor`."""
        return self.home / supervisor.LOGS / f"{name}.log"

    def memory_mib(self) -> dict[str, float]:
        """Memory by process in MiB, the supervisor's too."""
        own = {"supervisor": marked.resident_mib(psutil.Process(self.endpoints().supervisor_pid))}
        return marked.memory_mib(self.home) | own

    def up(
        self, on_change: OnChange = _ignore, env: Mapping[str, str] | None = None, seconds: float = UP_SECONDS
    ) -> Endpoints:
        """Starts the stack and returns once everything is ready.

        Args:
            on_change: Called with the new state each time that a process's state changes.
            env: Added to the environment of the supervisor and so of every service, e.g. `TIDEMILL_…` settings.
            seconds: For everything to be ready.

        Raises:
            ConfigurationError: A stack is running here already.
            UnreachableError: It did not get ready; it is stopped again, and the text holds the last lines of the log.
        """
        if self.is_running:
            raise ConfigurationError(f"a stack is running on {self.home}; 'tidemill down' stops it")
        self._launch(env or {})
        try:
            return self._wait_ready(on_change, time.monotonic() + seconds)
        except BaseException:
            self.down()
            raise

    def down(self, seconds: float = DOWN_SECONDS) -> None:
        """Drains and stops everything; nothing of the stack runs afterwards. Fine if nothing runs.

        Raises:
            UnreachableError: Something would not end.
        """
        if pid := holder(self.home):
            os.kill(pid, signal.SIGTERM)
            _wait_until(lambda: not self.is_running, seconds, f"the supervisor (process {pid})")
        if self._launched:
            self._launched.wait()
        marked.sweep(self.home, seconds=supervisor.LEFTOVER_SECONDS)
        if left := marked.find(self.home):
            raise UnreachableError(f"these processes would not end: {[item.pid for item in left]}")

    def _launch(self, env: Mapping[str, str]) -> None:
        self.log("supervisor").parent.mkdir(parents=True, exist_ok=True)
        command = [*PYTHON_MODULE, self._supervisor_module, "--home", str(self.home)]
        with self.log("supervisor").open("ab") as log:
            self._launched = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **env},
                start_new_session=True,
            )

    def _wait_ready(self, on_change: OnChange, deadline: float) -> Endpoints:
        seen: Endpoints | None = None
        while True:
            pid = self._supervisor_pid()
            endpoints = read_endpoints(self.home)
            if endpoints and endpoints.supervisor_pid == pid:
                if endpoints != seen:
                    on_change(endpoints)
                    seen = endpoints
                if endpoints.all_up:
                    return endpoints
                self._refuse_hopeless(endpoints)
            if time.monotonic() > deadline:
                raise UnreachableError(f"not everything became ready: {_not_up(endpoints)}")
            time.sleep(LOOK_SECONDS)

    def _supervisor_pid(self) -> int:
        """Of the supervisor that this object launched."""
        assert self._launched is not None
        if self._launched.poll() is not None:
            raise UnreachableError(f"the supervisor ended:\n{self._tail('supervisor')}")
        return self._launched.pid

    def _refuse_hopeless(self, endpoints: Endpoints) -> None:
        for name, state in endpoints.processes.items():
            if state.restarts >= HOPELESS_RESTARTS and not state.is_up:
                raise UnreachableError(f"{name} does not start; the end of {self.log(name)}:\n{self._tail(name)}")

    def _tail(self, name: str) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-LAST_LINES:])


def _not_up(endpoints: Endpoints | None) -> str:
    states = endpoints.processes if endpoints else {}
    return "; ".join(f"{name}: {state.phase} {state.detail}" for name, state in states.items() if not state.is_up)


def _wait_until(done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise UnreachableError(f"{what} did not end within {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
