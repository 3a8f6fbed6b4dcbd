"""The process that asks models in shadow: it starts when asked, dies alone, and is let go of when idle."""

import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from services.evaluator import shadow
from services.evaluator.exam import Model, Unavailable
from services.evaluator.shadow import Answers, Questions, ShadowProcess
from shared.settings import Settings, load_settings
from tests.unit.evaluator.builders import DIGEST

MODEL = Model("1", DIGEST)
QUESTIONS = Questions({7: "A fine film."}, {MODEL: (7,)})
PATIENCE_SECONDS = 60.0


def answering(settings: Settings, connection: Connection, parent: int) -> None:
    while True:
        try:
            questions = connection.recv()
        except EOFError:
            return
        connection.send(Answers({model: dict.fromkeys(offsets, 1) for model, offsets in questions.asked.items()}))


def dying(settings: Settings, connection: Connection, parent: int) -> None:
    connection.recv()
    os._exit(9)


def hanging(settings: Settings, connection: Connection, parent: int) -> None:
    threading.Event().wait()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ShadowProcess]]:
    processes: list[ShadowProcess] = []

    def start(child: Callable[..., None], **evaluator: Any) -> ShadowProcess:
        monkeypatch.setattr(shadow, "_serve", child)
        processes.append(ShadowProcess(load_settings(evaluator=evaluator)))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


def outcome(process: ShadowProcess) -> Answers | Unavailable:
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if (found := process.result()) is not None:
            return found
        pause.wait(0.02)
    raise AssertionError("nothing came out")


def test_one_process_serves_batch_after_batch_until_it_is_idle(started: Callable[..., ShadowProcess]) -> None:
    process = started(answering, monitor={"idle_seconds": 1e-6})
    assert process.result() is None
    process.ask(QUESTIONS)
    first = process.pid
    assert process.is_busy
    assert outcome(process) == Answers({MODEL: {7: 1}})
    assert not process.is_busy
    process.ask(QUESTIONS)
    assert process.pid == first
    outcome(process)
    assert process.result() is None
    assert process.pid is None


def test_one_that_dies_says_so_and_another_takes_its_place(
    started: Callable[..., ShadowProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(dying)
    process.ask(QUESTIONS)
    found = outcome(process)
    assert isinstance(found, Unavailable)
    assert "exit code 9" in found.reason
    monkeypatch.setattr(shadow, "_serve", answering)
    process.ask(QUESTIONS)
    assert outcome(process) == Answers({MODEL: {7: 1}})


def test_one_that_hangs_is_ended(started: Callable[..., ShadowProcess]) -> None:
    process = started(hanging, timeout_seconds=0.05)
    process.ask(QUESTIONS)
    found = outcome(process)
    assert isinstance(found, Unavailable)
    assert "timeout_seconds" in found.reason
    assert not process.is_busy
