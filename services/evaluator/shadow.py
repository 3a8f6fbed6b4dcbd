"""Asks models about fresh reviews in a process of its own, which is started when needed and ended when idle.

torch never lives in the service, the models take memory only while there is something to ask them, and a model that
kills its process kills nothing else.
"""

import multiprocessing
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from services.evaluator.exam import Model, Unavailable
from shared.processes import die_with_parent
from shared.settings import Settings

# Watching takes what serving and training leave; by default one thread, too.
NICENESS = 10


@dataclass(frozen=True, slots=True)
class Questions:
    """Texts by offset, and which model is asked about which of them; one asked about none is still needed later.

    `sketched`: the texts of which a model that is asked also says what it sees in them.
    """

    texts: Mapping[int, str]
    asked: Mapping[Model, tuple[int, ...]]
    sketched: Mapping[Model, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answers:
    """Class and sketch by offset for each model, and why the others cannot be asked, now or ever."""

    labels: Mapping[Model, Mapping[int, int]] = field(default_factory=dict)
    sketches: Mapping[Model, Mapping[int, bytes]] = field(default_factory=dict)
    unusable: Mapping[Model, str] = field(default_factory=dict)


class Shadow(Protocol):
    """Whoever asks the models; one batch at a time."""

    @property
    def is_busy(self) -> bool:
        """Whether a batch is under way."""

    def ask(self, questions: Questions) -> None:
        """Begins a batch; returns at once."""

    def result(self) -> Answers | Unavailable | None:
        """What came out, once; None while it goes on, and without a batch. Never waits."""

    def close(self) -> None:
        """Ends it, whatever it is doing."""


class ShadowProcess:
    """The models in a child that dies with this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._child: tuple[multiprocessing.process.BaseProcess, Connection] | None = None
        self._busy_since: float | None = None
        self._idle_since = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a batch is under way."""
        return self._busy_since is not None

    @property
    def pid(self) -> int | None:
        """The child's process id; None without a child."""
        return None if self._child is None else self._child[0].pid

    def ask(self, questions: Questions) -> None:
        """Begins a batch, and the process if there is none."""
        _, connection = self._child = self._child or self._started()
        self._busy_since = time.monotonic()
        with suppress(OSError):  # it has died; `result` says how
            connection.send(questions)

    def result(self) -> Answers | Unavailable | None:
        """What came out; the process ends if it hangs, and once it was idle for long enough."""
        if self._child is None:
            return None
        if self._busy_since is None:
            self._rest()
            return None
        if self._child[1].poll():
            return self._received(self._child[1])
        if time.monotonic() - self._busy_since > self._settings.evaluator.timeout_seconds:
            self.close()
            return Unavailable("asking models in shadow took too long and was ended (evaluator.timeout_seconds)")
        return None

    def close(self) -> None:
        """Ends the process at once; a batch under way is lost, and can be asked again."""
        child, self._child, self._busy_since = self._child, None, None
        if child is not None:
            process, connection = child
            process.kill()
            process.join()
            connection.close()

    def _rest(self) -> None:
        if time.monotonic() - self._idle_since > self._settings.evaluator.monitor.idle_seconds:
            self.close()

    def _received(self, connection: Connection) -> Answers | Unavailable:
        try:
            found: Answers | Unavailable = connection.recv()
        except (EOFError, OSError):
            assert self._child is not None
            self._child[0].join()
            code = self._child[0].exitcode
            self.close()
            return Unavailable(f"asking models in shadow died with exit code {code}; the log says why")
        self._busy_since, self._idle_since = None, time.monotonic()
        return found

    def _started(self) -> tuple[multiprocessing.process.BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(self._settings, theirs, os.getpid()), name="shadow", daemon=True)
        process.start()
        theirs.close()  # ours of it; once the child's is closed too, the pipe ends
        return process, ours


def watch_folder(settings: Settings) -> Path:
    """Where the monitor keeps its files: each stream's offsets and versions mean something else."""
    return settings.home.resolve() / "evaluator" / "watch" / settings.stream.folder


def _serve(settings: Settings, connection: Connection, parent: int) -> None:
    """The child. Its heavy imports are its own."""
    die_with_parent(parent)
    os.nice(NICENESS)
    from services.evaluator.shadow_models import ShadowModels
    from shared.classifier.threads import use_threads
    from shared.logs import configure_logging
    from shared.registry import Registry

    configure_logging(settings.service, "evaluator.shadow")
    use_threads(settings.model.threads or 1)
    models = ShadowModels(settings, Registry(settings))
    while True:
        try:
            questions: Questions = connection.recv()
        except EOFError:
            return
        connection.send(models.answer(questions))
