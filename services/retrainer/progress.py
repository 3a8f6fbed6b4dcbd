"""How far a job is: points appended to a file by the job, read as they come by the service."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError


class Point(BaseModel):
    """One point of the loss curve.

    `loss` is the mean over the steps since the last point, in nats per row; `rows_per_second` since the job's start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    step: NonNegativeInt
    total_steps: PositiveInt
    loss: float
    learning_rate: NonNegativeFloat
    rows_seen: NonNegativeInt
    tokens_seen: NonNegativeInt
    rows_per_second: NonNegativeFloat


class Resumed(BaseModel):
    """The job started over from this step; later points written before are void."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    resumed_from: NonNegativeInt


Entry = Point | Resumed


class ProgressLog:
    """The job's end: appends an entry a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: Entry) -> None:
        """Writes it through, so that a reader sees it at once; on its own line even after a half-written one."""
        with self._path.open("a+b") as file:
            torn = file.tell() > 0 and not _ends_line(self._path)
            file.write((b"\n" if torn else b"") + entry.model_dump_json().encode() + b"\n")


class ProgressReader:
    """The service's end: what was appended since the last look."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0

    def news(self) -> list[Entry]:
        """New whole lines; a line still being written waits for the next look."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return parse(whole.splitlines())


def parse(lines: Iterable[bytes]) -> list[Entry]:
    """The entries; a line cut short by a kill is passed over."""
    return [entry for line in lines if (entry := _entry(line)) is not None]


def curve(entries: Iterable[Entry]) -> list[Point]:
    """The points that count, by rising step: a resumption voids what it repeats."""
    points: dict[int, Point] = {}
    for entry in entries:
        if isinstance(entry, Point):
            points[entry.step] = entry
        else:
            points = {step: point for step, point in points.items() if step <= entry.resumed_from}
    return [points[step] for step in sorted(points)]


def rows_seen(step: int, rows: int, batch_rows: int) -> int:
    """Rows learned after `step` optimiser steps, when every epoch ends in a batch of what is left.

    >>> [rows_seen(step, rows=10, batch_rows=4) for step in range(5)]
    [0, 4, 8, 10, 14]
    """
    epochs, within = divmod(step, -(-rows // batch_rows))
    return epochs * rows + min(within * batch_rows, rows)


def _entry(line: bytes) -> Entry | None:
    for model in (Point, Resumed):
        try:
            return model.model_validate_json(line)
        except ValidationError:
            continue
    return None


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
