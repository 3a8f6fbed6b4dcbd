"""From the rows of one load to figures; no input or output but reading what the load left."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.serve.client import NOT_ANSWERED

OK = 200
REFUSED = (429, 503)
"""Statuses by which a server says that it has too much to do."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a load left: one element a request. Times in seconds of the monotonic clock."""

    text: NDArray[np.int64]
    intended: NDArray[np.float64]
    sent: NDArray[np.float64]
    done: NDArray[np.float64]
    status: NDArray[np.int64]
    processor_seconds: float = 0.0
    bodies: tuple[str, ...] = ()

    @property
    def milliseconds(self) -> NDArray[np.float64]:
        """From the moment at which each was due."""
        return (self.done - self.intended) * 1000

    @property
    def answered(self) -> int:
        """All that were answered, at any time."""
        return int((self.status == OK).sum())


@dataclass(frozen=True)
class Point:
    """One contestant under one load. Latencies in milliseconds, None where nothing was answered.

    Attributes:
        load: connections of a closed loop, requests a second of an open one. failed: any other status than 200, or no
            answer. server_seconds, client_seconds: processor time for 1,000 answers. beside_seconds: of Kafka and
            MLflow.
    """

    contestant: str
    loop: str
    load: float
    round: int
    per_second: float
    p50: float | None
    p95: float | None
    p99: float | None
    answered: int
    failed: int
    server_seconds: float | None
    beside_seconds: float | None
    client_seconds: float | None
    memory_mib: float


@dataclass(frozen=True)
class Overload:
    """One contestant asked as much as it bears, or more, and each request with a deadline.

    Attributes:
        times: 1 at saturation, 2 at twice what it answered then. asked, goodput: requests, and answers within the
            deadline, a second. late: answered, too late. lost: neither answered nor refused. refused_p50:
            milliseconds until it said no.
    """

    contestant: str
    times: float
    round: int
    asked: float
    goodput: float
    late: int
    refused: int
    lost: int
    refused_p50: float | None
    memory_before: float
    memory_peak: float
    memory_after: float


@dataclass(frozen=True)
class Cost:
    """Processor seconds of one load, by who spent them, and memory after it."""

    server: float
    beside: float
    memory_mib: float


def read_answers(folder: Path) -> Answers:
    """What `bench.serve.load` left there."""
    with np.load(folder / "answers.npz") as rows:
        columns = {name: rows[name] for name in ("text", "intended", "sent", "done", "status")}
    bodies = folder / "bodies.json"
    return Answers(
        **columns,
        processor_seconds=json.loads((folder / "usage.json").read_text())["processor_seconds"],
        bodies=tuple(json.loads(bodies.read_text())) if bodies.exists() else (),
    )


def percentile(values: NDArray[np.float64], share: float) -> float | None:
    """The least value that this share of the values does not exceed; None of none.

    >>> percentile(np.array([4.0, 1.0, 3.0, 2.0]), 0.5)
    2.0
    """
    if len(values) == 0:
        return None
    return float(np.sort(values)[max(0, int(np.ceil(share * len(values))) - 1)])


def point_of(
    answers: Answers, contestant: str, loop: str, load: float, number: int, warm_up: float, seconds: float, cost: Cost
) -> Point:
    """Figures of the seconds after the warm-up.

    A closed loop is judged by what was answered in that time, an open one by what was due in it, however long the
    answer took: what never came counts as late as it was when the run ended. What was refused, or failed otherwise,
    is no latency; it counts as failed, and claims of speed need that there is none.
    """
    moments = answers.done if loop == "closed" else answers.intended
    begin = (float(answers.intended.min()) if len(answers.intended) else 0.0) + warm_up
    counted = (moments >= begin) & (moments < begin + seconds)
    waited = answers.milliseconds[counted & np.isin(answers.status, (OK, NOT_ANSWERED))]
    answered = int((counted & (answers.status == OK)).sum())
    return Point(
        contestant=contestant,
        loop=loop,
        load=load,
        round=number,
        per_second=answered / seconds,
        p50=percentile(waited, 0.5),
        p95=percentile(waited, 0.95),
        p99=percentile(waited, 0.99),
        answered=answered,
        failed=int(counted.sum()) - answered,
        server_seconds=_for_a_thousand(cost.server, answers.answered),
        beside_seconds=_for_a_thousand(cost.beside, answers.answered),
        client_seconds=_for_a_thousand(answers.processor_seconds, answers.answered),
        memory_mib=cost.memory_mib,
    )


def overload_of(
    answers: Answers,
    contestant: str,
    times: float,
    number: int,
    deadline: float,
    warm_up: float,
    seconds: float,
    memory: Sequence[float],
) -> Overload:
    """Figures of the seconds after the warm-up, by what was said in them, so that a queue that grows is no goodput.

    Args: memory: before, every now and then during, and after it, MiB.
    """
    begin = (float(answers.intended.min()) if len(answers.intended) else 0.0) + warm_up
    due, said = ((moments >= begin) & (moments < begin + seconds) for moments in (answers.intended, answers.done))
    answered, refused = answers.status == OK, np.isin(answers.status, REFUSED)
    in_time = answers.milliseconds <= 1000 * deadline
    return Overload(
        contestant=contestant,
        times=times,
        round=number,
        asked=float(due.sum()) / seconds,
        goodput=float((said & answered & in_time).sum()) / seconds,
        late=int((said & answered & ~in_time).sum()),
        refused=int((said & refused).sum()),
        lost=int((due & ~answered & ~refused).sum()),
        refused_p50=percentile((answers.done - answers.sent)[said & refused] * 1000, 0.5),
        memory_before=memory[0],
        memory_peak=max(memory),
        memory_after=memory[-1],
    )


def medians(points: Sequence[Point]) -> list[Point]:
    """Each contestant and load once: the median of its rounds, the sum of its failures; round 0."""
    keys = dict.fromkeys((each.contestant, each.loop, each.load) for each in points)
    return [_median([e for e in points if (e.contestant, e.loop, e.load) == key]) for key in keys]


def _median(points: Sequence[Point]) -> Point:
    found: dict[str, object] = {"contestant": points[0].contestant, "loop": points[0].loop, "load": points[0].load}
    found |= {"round": 0, "failed": sum(each.failed for each in points)}
    for name in (each.name for each in fields(Point) if each.name not in found):
        values = [value for each in points if (value := getattr(each, name)) is not None]
        found[name] = median(values) if values else None
    return Point(**found)  # type: ignore[arg-type]


def _for_a_thousand(seconds: float, answers: int) -> float | None:
    return 1000 * seconds / answers if answers else None
