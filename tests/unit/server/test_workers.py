"""The parent of several server processes: what it does when one cannot be started, and at a stop."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.server.workers import Workers

# Accepts nothing, and at SIGTERM tells what a client would meet once it has closed the socket itself.
WORKER = """
import signal, socket, sys, threading
told, (_, _, fd) = open(sys.argv[1], "w", buffering=1), sys.argv[3].partition("=")
listener, stop = socket.socket(fileno=int(fd)), threading.Event()
listener.listen()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
print("ready", file=told)
stop.wait()
address = listener.getsockname()
listener.close()
try:
    socket.create_connection(address, 5)
    print("accepted", file=told)
except ConnectionRefusedError:
    print("refused", file=told)
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def test_at_a_stop_no_connection_is_accepted_once_the_workers_have_closed_theirs(
    listener: socket.socket, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "told")
    workers = Workers(1, listener, 20.0, (sys.executable, "-c", WORKER, str(tmp_path / "told")))
    workers._seats[0].look()
    with (tmp_path / "told").open() as told:
        assert told.readline() == "ready\n"
        workers._drain()
        assert told.readline() == "refused\n"


def test_a_worker_that_cannot_be_started_is_tried_again_later_and_ends_nothing(listener: socket.socket) -> None:
    workers = Workers(1, listener, 1.0, ("/no/such/program",))
    seat = workers._seats[0]
    with capture_logs() as logs:
        assert [seat.look(), seat.look()] == [None, None]
    assert [entry["event"] for entry in logs] == ["worker_not_started"]  # the second look came before its time
    seat._not_before = 0.0
    first = seat._wait_seconds
    with capture_logs() as logs:
        seat.look()
    assert len(logs) == 1
    assert seat._wait_seconds == 2 * first
    workers._drain()
