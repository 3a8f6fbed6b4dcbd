"""What one process of the stack is, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Stage(IntEnum):
    """When a process is stopped: whoever uses something goes before it."""

    SERVICES = 0
    REGISTRY = 1
    BROKER = 2


def _nothing() -> None:
    """Most programs need no preparation."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process.

    Attributes:
        name: Of the process, its log file and its state.
        argv: The program and its arguments.
        ready_url: Answers once it is ready: `http://…` with status 200, `tcp://host:port` by accepting a connection.
            None: it is ready once it has ended with status 0, as a step of preparation does.
        env: Added to the supervisor's own environment.
        after: Names of the processes that must be ready before it starts.
        stage: When it is stopped.
        prepare: Runs before each start.
    """

    name: str
    argv: tuple[str, ...]
    ready_url: str | None
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    stage: Stage = Stage.SERVICES
    prepare: Callable[[], None] = _nothing
