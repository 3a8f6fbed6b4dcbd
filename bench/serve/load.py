"""The load: closed or open loop against one server of this machine, in a process of its own.

* Closed: each connection sends its next request when its last one is answered.
* Open: one request every 1/rate seconds whatever the server does. Each takes an idle connection, or a new one; when all
  that may be are taken it waits, and its latency still counts from the moment at which it was due, so a server that
  stalls is not asked more kindly (no "coordinated omission": G. Tene, "How not to measure latency", 2013).

`python -m bench.serve.load FOLDER` reads job.json there and leaves answers.npz, usage.json and, if asked to,
bodies.json. SIGTERM ends the sending early; answers under way are still waited for. A load that had to end because it
sent the most that it may fails.
"""

import asyncio
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop

from bench.serve.client import HOST, NOT_ANSWERED, Answered, Asked, Connection

RECONNECT_SECONDS = 0.05
TIMER_SECONDS = 0.001  # the event loop's; a shorter wait would spin
# A loop that spins on a broken server must end, too, and what a load saw fit into memory.
MOST_REQUESTS = 500_000


@dataclass(frozen=True)
class Job:
    """What to send, and how.

    Attributes:
        requests: whole HTTP requests, sent in turn. connections: at once (closed), or at most (open).
        seconds: of sending, warm-up included. rate: requests a second; None: closed loop.
        drain_seconds: how long answers are waited for after the last request. keep_bodies: write them down.
    """

    port: int
    requests: list[str]
    connections: int
    seconds: float
    rate: float | None = None
    drain_seconds: float = 10.0
    keep_bodies: bool = False


class Row(NamedTuple):
    """What answers.npz holds of one request."""

    text: int
    intended: float
    sent: float
    done: float
    status: int


class Exchange:
    """Sends requests and keeps what comes back."""

    def __init__(self, job: Job, free: Callable[[Connection], None], lost: Callable[[], None]) -> None:
        """`free` gets each connection that may be used again; `lost` is called for each that is gone."""
        self._job, self._free, self._gone = job, free, lost
        self._requests = [request.encode() for request in job.requests]
        self._open: set[Connection] = set()
        self.rows: list[Row] = []
        self.bodies: list[str] = []
        self.sent = 0
        self.under_way = 0

    async def connect(self) -> Connection | None:
        """A new connection, or None if the server does not take it."""
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._told, self._lost), HOST, self._job.port
            )
        except OSError:
            return None
        self._open.add(connection)
        return connection

    def ask(self, connection: Connection, intended: float) -> None:
        """The next text."""
        text = self.sent % len(self._requests)
        self.sent += 1
        self.under_way += 1
        connection.ask(Asked(text, intended, time.monotonic()), self._requests[text])

    def give_up(self, overdue: deque[float]) -> None:
        """Notes what has not been answered, and what was due and never sent; hangs up."""
        now = time.monotonic()
        for connection in list(self._open):
            if (asked := connection.asked) is not None:
                self._note(Answered(asked, NOT_ANSWERED, now, b""))
            connection.close()
        self.rows += [Row(0, intended, now, now, NOT_ANSWERED) for intended in overdue]

    def _told(self, connection: Connection, answered: Answered) -> None:
        self.under_way -= 1
        self._note(answered)
        if connection.is_usable:
            self._free(connection)

    def _lost(self, connection: Connection, asked: Asked | None) -> None:
        self._open.discard(connection)
        if asked is not None:
            self.under_way -= 1
            self._note(Answered(asked, NOT_ANSWERED, time.monotonic(), b""))
        self._gone()

    def _note(self, answered: Answered) -> None:
        asked = answered.asked
        self.rows.append(Row(asked.text, asked.intended, asked.sent, answered.done, answered.status))
        if self._job.keep_bodies:
            self.bodies.append(answered.body.decode(errors="replace"))


class ClosedLoop:
    """Keeps every connection busy."""

    def __init__(self, job: Job) -> None:
        self._job, self._sending = job, False
        self.exchange = Exchange(job, self._next, self._replace)
        self.overdue: deque[float] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, stopped: asyncio.Event) -> None:
        """Sends until told to stop, or for the job's seconds."""
        self._sending = True
        for _ in range(self._job.connections):
            self._replace()
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), self._job.seconds)
        self._sending = False

    async def _begin(self) -> None:
        while (connection := await self.exchange.connect()) is None and self._sending:
            await asyncio.sleep(RECONNECT_SECONDS)
        if connection is not None:
            self._next(connection)

    def _next(self, connection: Connection) -> None:
        if self._sending and self.exchange.sent < MOST_REQUESTS:
            self.exchange.ask(connection, time.monotonic())

    def _replace(self) -> None:
        if self._sending:
            task = asyncio.get_running_loop().create_task(self._begin())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class OpenLoop:
    """Sends when it is time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.exchange = Exchange(job, self._next, self._closed)
        self.overdue: deque[float] = deque()
        # The one used last is used next, so that those that the server hangs up on for idleness are not in use.
        self._idle: list[Connection] = []
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, stopped: asyncio.Event) -> None:
        """Sends until told to stop, or for the job's seconds."""
        assert self._job.rate is not None  # else it is a closed loop
        begin = time.monotonic()
        for offset in islice(send_times(self._job.rate, self._job.seconds), MOST_REQUESTS):
            while (wait := begin + offset - time.monotonic()) > 0:
                await asyncio.sleep(max(wait, TIMER_SECONDS))
            if stopped.is_set():
                return
            self.overdue.append(begin + offset)
            self._send()

    def _send(self) -> None:
        """The oldest that is due, on an idle connection or on a new one."""
        while self._idle and self.overdue:
            connection = self._idle.pop()
            if connection.is_usable:
                self.exchange.ask(connection, self.overdue.popleft())
        if self.overdue and self._connections < self._job.connections:
            self._connections += 1
            task = asyncio.get_running_loop().create_task(self._more())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _more(self) -> None:
        if (connection := await self.exchange.connect()) is not None:
            self._next(connection)
        else:
            self._connections -= 1

    def _next(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._send()

    def _closed(self) -> None:
        self._connections -= 1


def send_times(rate: float, seconds: float) -> Iterator[float]:
    """When an open loop sends, in seconds from its begin: at a constant rate, whatever became of what was sent before.

    >>> list(send_times(4, 1))
    [0.0, 0.25, 0.5, 0.75]
    """
    return (number / rate for number in range(round(rate * seconds)))


async def _run(job: Job) -> tuple[Exchange, float]:
    """Everything about the requests sent, and the processor's seconds while they were."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    load = ClosedLoop(job) if job.rate is None else OpenLoop(job)
    busy = time.process_time()
    await load.send(stopped)
    end = time.monotonic() + job.drain_seconds
    while (load.exchange.under_way or load.overdue) and time.monotonic() < end:
        await asyncio.sleep(RECONNECT_SECONDS)
    busy = time.process_time() - busy
    load.exchange.give_up(load.overdue)
    return load.exchange, busy


def main(folder: Path) -> None:
    """Does the job in the folder.

    Raises:
        SystemExit: It sent the most that a load may, and not all that it was to.
    """
    job = Job(**json.loads((folder / "job.json").read_text()))
    exchange, busy = uvloop.run(_run(job))
    columns = zip(*exchange.rows, strict=True) if exchange.rows else ([] for _ in Row._fields)
    arrays: dict[str, Any] = dict(zip(Row._fields, map(np.array, columns), strict=True))
    np.savez(folder / "answers.npz", **arrays)
    (folder / "usage.json").write_text(json.dumps({"processor_seconds": busy}))
    if job.keep_bodies:
        (folder / "bodies.json").write_text(json.dumps(exchange.bodies))
    if len(exchange.rows) >= MOST_REQUESTS:
        raise SystemExit(
            f"ended before its time: {MOST_REQUESTS} requests are the most; ask for fewer seconds or a lower rate"
        )


def write(job: Job, folder: Path) -> None:
    """Leaves a job for `main`."""
    (folder / "job.json").write_text(json.dumps(asdict(job)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
