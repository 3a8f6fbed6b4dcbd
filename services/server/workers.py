"""Several server processes behind one port: one listening socket that all accept from, and a parent that keeps them up.

Python computes on one core at a time beside the model; with workers, request handling scales with cores, and one
worker's crash costs its own connections only. The parent loads no model.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

import structlog

from services.server.worker import Worker
from shared.errors import ExitCode
from shared.retry import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS

log = structlog.get_logger("workers")
LOOK_SECONDS = 0.2
CALM_SECONDS = 30.0  # a worker that was up for so long did not die young
MARGIN_SECONDS = 10.0  # beyond the drain, before a worker is killed
PYTHON_MODULE = (sys.executable, "-m", "services.server")


class Workers:
    """The processes, from `run` until it returns, and this process's hold on the socket that they accept from."""

    def __init__(
        self, count: int, listener: socket.socket, drain_seconds: float, command: Sequence[str] = PYTHON_MODULE
    ) -> None:
        """`listener` is owned from here on: it is closed as soon as the workers are asked to drain."""
        self._stopping = threading.Event()
        self._listener, self._drain_seconds = listener, drain_seconds
        self._seats = [_Seat(Worker(number, count, listener.fileno(), os.getpid()), command) for number in range(count)]

    def run(self) -> ExitCode:
        """Keeps all running until a signal, or until one says that it is misconfigured; then drains them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        code = ExitCode.STOPPED
        while not self._stopping.wait(LOOK_SECONDS):
            if ExitCode.MISCONFIGURED in [seat.look() for seat in self._seats]:
                # Its own log says what is wrong, and starting it again would find the same.
                code = ExitCode.MISCONFIGURED
                break
        self._drain()
        return code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping.is_set():
            os._exit(128 + number)  # the workers end with their parent
        self._stopping.set()

    def _drain(self) -> None:
        # While anybody holds the socket the kernel takes connections, which no worker would serve any more.
        self._listener.close()
        deadline = time.monotonic() + self._drain_seconds + MARGIN_SECONDS
        for seat in self._seats:
            seat.terminate()
        for seat in self._seats:
            seat.end(deadline - time.monotonic())


class _Seat:
    """One worker's process, started again when it dies, after waits that double while it dies young."""

    def __init__(self, worker: Worker, command: Sequence[str]) -> None:
        self._worker, self._command = worker, command
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._not_before = 0.0
        self._wait_seconds = FIRST_WAIT_SECONDS

    def look(self) -> int | None:
        """Starts it if it does not run and may; returns the exit code if it has ended since the last look."""
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            self._ended(code)
        if self._process is None and time.monotonic() >= self._not_before:
            self._start()
        return code

    def _start(self) -> None:
        self._began = time.monotonic()
        try:
            # In a session of its own: a Ctrl-C is for the parent, who passes it on once.
            self._process = subprocess.Popen(
                [*self._command, *self._worker.arguments()], pass_fds=[self._worker.listener], start_new_session=True
            )
        except OSError as error:  # no memory or no process left: the others serve on
            log.error("worker_not_started", worker=self._worker.number, error=str(error))
            self._wait()
        else:
            log.info("worker_started", worker=self._worker.number, pid=self._process.pid)

    def _ended(self, code: int) -> None:
        log.error("worker_ended", worker=self._worker.number, exit_code=code)
        self._process = None
        self._wait()

    def _wait(self) -> None:
        now = time.monotonic()
        calm = now - self._began > CALM_SECONDS
        self._wait_seconds = FIRST_WAIT_SECONDS if calm else min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
        self._not_before = now + self._wait_seconds

    def terminate(self) -> None:
        """Asks it to drain."""
        if self._process is not None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Waits for it, and kills it after so long."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            log.error("worker_killed", worker=self._worker.number, reason="it did not drain in time")
            self._process.kill()
            self._process.wait()
