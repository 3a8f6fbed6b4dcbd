"""One contestant in service, asked in every way in turn."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.serve import load
from bench.serve.client import HOST
from bench.serve.contestants import ROOT, Contestant, Running
from bench.serve.load import Job
from bench.serve.measures import Answers, Cost, Overload, Point, overload_of, point_of, read_answers
from bench.serve.processes import MemoryWatch, processor_seconds, resident_mib
from deploy.local import process

# Each open connection is a file of the server's and one of the client's; systems allow 1024 unless asked.
MOST_CONNECTIONS = 512
DRAIN_SECONDS = 5.0
SETTLE_SECONDS, PAUSE_SECONDS = 120.0, 0.2
GRACE_SECONDS = 60.0  # for a load to begin and to write down what it saw
# A rate further beyond what a contestant bears says only how long it was asked.
MOST_OF_CAPACITY = 1.25
# How saturation is found: each rate above the one before, while all but these few are answered in time.
RAISE, ALL_IN_TIME, MOST_RATES = 1.5, 0.95, 4
LOG = "load.log"


@dataclass(frozen=True)
class Course:
    """What every contestant is put through.

    Attributes:
        seconds: measured, after `warm_up_seconds` of each load. rate_multiples: of the naive server's saturating rate.
        deadline_seconds: of requests under overload. overload_all: not only ours is overloaded.
    """

    connections: tuple[int, ...]
    rate_multiples: tuple[float, ...]
    seconds: float
    warm_up_seconds: float
    deadline_seconds: float
    overload_all: bool


@dataclass(frozen=True)
class Agreement:
    """A contestant's answers beside the library's, on the same texts."""

    contestant: str
    labels_agree: float
    largest_difference: float


class Race:
    """Asks one running contestant; keeps nothing."""

    def __init__(
        self,
        contestant: Contestant,
        running: Running,
        client: httpx.Client,
        texts: Sequence[str],
        course: Course,
        folder: Path,
        number: int,
    ) -> None:
        """Args: client: for single questions. folder: where loads leave what they saw. number: of the round."""
        self._contestant, self._running, self._client, self._course = contestant, running, client, course
        self._folder, self._number, self._texts = folder, number, texts
        self._requests = [contestant.request(text) for text in texts]

    def agreement(self, expected: Sequence[tuple[str, float]]) -> Agreement:
        """Args: expected: label and score of the first texts."""
        found = [self._ask(text) for text in self._texts[: len(expected)]]
        pairs = list(zip(found, expected, strict=True))
        return Agreement(
            self._contestant.name,
            sum(mine[0] == other[0] for mine, other in pairs) / len(pairs),
            max(abs(mine[1] - other[1]) for mine, other in pairs),
        )

    def closed(self) -> list[Point]:
        """A point for each number of connections."""
        return [self._point("closed", connections, None) for connections in self._course.connections]

    def open(self, saturating: float, capacity: float) -> list[Point]:
        """A point for each rate up to the naive server's saturating one, and beyond while the contestant bears it."""
        multiples = [m for m in self._course.rate_multiples if m <= 1 or m * saturating <= MOST_OF_CAPACITY * capacity]
        return [self._point("open", multiple * saturating, multiple * saturating) for multiple in multiples]

    def overload(self, capacity: float) -> list[Overload]:
        """At saturation, and at twice what it answers then.

        Clients that wait for their answers need not saturate a server, so the rate is raised from there until not all
        is answered in time; the best of these counts.
        """
        tried = [self._overloaded(capacity, 1.0)]
        while len(tried) < MOST_RATES and tried[-1].goodput >= ALL_IN_TIME * tried[-1].asked:
            tried.append(self._overloaded(RAISE * tried[-1].asked, 1.0))
        saturated = max(tried, key=lambda each: each.goodput)
        return [saturated, self._overloaded(2 * saturated.goodput, 2.0)]

    def _point(self, loop: str, at: float, rate: float | None) -> Point:
        course = self._course
        job = Job(
            port=self._running.port,
            requests=self._requests,
            connections=int(at) if rate is None else MOST_CONNECTIONS,
            seconds=course.warm_up_seconds + course.seconds,
            rate=rate,
            drain_seconds=DRAIN_SECONDS,
        )
        answers, cost = self._costed(job)
        name = self._contestant.name
        return point_of(answers, name, loop, at, self._number, course.warm_up_seconds, course.seconds, cost)

    def _overloaded(self, rate: float, times: float) -> Overload:
        deadline, seconds = self._course.deadline_seconds, self._course.seconds
        # By then a queue is as long as a deadline lets it be.
        warm_up = deadline
        job = Job(
            port=self._running.port,
            requests=[self._contestant.request(text, deadline) for text in self._texts],
            connections=MOST_CONNECTIONS,
            seconds=warm_up + seconds,
            rate=rate,
            drain_seconds=DRAIN_SECONDS,
        )
        before = resident_mib([self._running.pid])
        with MemoryWatch(lambda: resident_mib([self._running.pid])) as watch:
            answers, cost = self._costed(job)
        memory = [before, *(mib for _, mib in watch.looks), cost.memory_mib]
        return overload_of(answers, self._contestant.name, times, self._number, deadline, warm_up, seconds, memory)

    def _costed(self, job: Job) -> tuple[Answers, Cost]:
        """The load, and what it cost the server; returns once the server has done with it."""
        own, beside = [self._running.pid], self._running.beside
        server, others = processor_seconds(own), processor_seconds(beside)
        answers = run_load(job, self._folder)
        cost = Cost(processor_seconds(own) - server, processor_seconds(beside) - others, resident_mib(own))
        self._settle()
        return answers, cost

    def _settle(self) -> None:
        """What one load left in a queue must not be the next one's trouble: a server answers in order."""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                self._ask(self._texts[0])
            except httpx.HTTPError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                return

    def _ask(self, text: str) -> tuple[str, float]:
        url = f"http://{HOST}:{self._running.port}{self._contestant.path}"
        answer = self._client.post(url, json=self._contestant.question(text))
        return self._contestant.read(answer.raise_for_status().json())


def begin_load(job: Job, folder: Path) -> subprocess.Popen[bytes]:
    """Starts the load's process; SIGTERM ends it early. What it leaves in the folder is read by `read_answers`."""
    load.write(job, folder)
    argv = [*process.PYTHON_MODULE, "bench.serve.load", str(folder)]
    with (folder / LOG).open("wb") as log:
        return process.spawn(argv, log, {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})


def run_load(job: Job, folder: Path) -> Answers:
    """The load from begin to end.

    Raises:
        RuntimeError: Its process failed, or took much longer than it should.
    """
    return finished(begin_load(job, folder), job, folder)


def finished(running: subprocess.Popen[bytes], job: Job, folder: Path) -> Answers:
    """What the load saw, once it has ended; errors as of `run_load`."""
    try:
        code = running.wait(job.seconds + job.drain_seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill(running)
        raise RuntimeError("the load did not end in time") from None
    if code:
        raise RuntimeError(f"the load ended with status {code}: {(folder / LOG).read_text()[-400:]}")
    return read_answers(folder)
