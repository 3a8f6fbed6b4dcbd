"""kill -9 at random moments under load: afterwards every review is accounted for and every window is there once."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.local import process
from deploy.local.broker import Broker
from tests.integration.ingestor.stream import Stream, review

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

ROWS, REVIEWS, BATCH = 100, 8_000, 1_000
TEXTS = 200  # without a label, beside each batch
PATIENCE_SECONDS = 180.0
ROLES = ("curator", "windower")


class Supervisor:
    """Runs one process for each role of the ingestor, and starts again what was killed."""

    def __init__(self, stream: Stream, folder: Path) -> None:
        settings = stream.settings
        self._log = (folder / "ingestor.log").open("ab")
        self._environment = {
            "TIDEMILL_STREAM__PREFIX": settings.stream.prefix,
            "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers(),
            "TIDEMILL_KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            "TIDEMILL_HOME": str(settings.home),
            "TIDEMILL_INGESTOR__WINDOW__TRIGGERS": json.dumps([{"kind": "count", "rows": ROWS}]),
            "TIDEMILL_INGESTOR__WINDOW__MIN_ROWS": "1",
            "TIDEMILL_INGESTOR__UNLABELED__ROWS": str(ROWS),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self._running = {role: self._start(role) for role in ROLES}

    def _start(self, role: str) -> subprocess.Popen[bytes]:
        return process.spawn([sys.executable, "-m", "services.ingestor", "--role", role], self._log, self._environment)

    def kill(self, role: str) -> None:
        """As a crash would, and a new one at once: the dead one's session is still open."""
        process.kill(self._running[role])
        self._running[role] = self._start(role)

    def revive(self) -> None:
        """Starts again what ended by itself, e.g. because a successor fenced it."""
        for role, running in self._running.items():
            if running.poll() is not None:
                self._running[role] = self._start(role)

    def stop(self) -> None:
        for running in self._running.values():
            process.stop(running, 30)
        self._log.close()


@pytest.fixture
def stream(broker: Broker, topic_prefix: str, home: Path) -> Stream:
    return Stream(broker.bootstrap_servers, topic_prefix, home, rows=ROWS)


@pytest.fixture
def supervisor(stream: Stream, tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(stream, tmp_path)
    yield supervisor
    supervisor.stop()


def wait_for(so: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not so():
        assert time.monotonic() < deadline, "the ingestor did not recover"
        meanwhile()


def progress(stream: Stream) -> int:
    return len(stream.curated()) + len(stream.windows())


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_by_kills_at_random_moments(
    stream: Stream, supervisor: Supervisor, seed: int
) -> None:
    dice = random.Random(seed)
    for first in range(0, REVIEWS, BATCH):
        before = progress(stream)
        stream.publish([review(number) for number in range(first, first + BATCH)] + [b"junk"])
        stream.publish_texts(TEXTS, first)
        wait_for(partial(rises, stream, before), supervisor.revive)
        time.sleep(dice.uniform(0, 0.5))  # not to wait for something: to hit any line
        supervisor.kill(dice.choice(ROLES))
    junk, texts = REVIEWS // BATCH, REVIEWS // BATCH * TEXTS
    wait_for(
        lambda: (len(stream.windows()), len(stream.unlabeled_windows())) == (REVIEWS // ROWS, texts // ROWS),
        supervisor.revive,
    )
    report = stream.audit()
    assert report.problems == ()
    assert (report.published, report.curated, report.rejected) == (REVIEWS + texts + junk, REVIEWS, junk)
    assert (report.windowed, report.open, report.waiting) == (REVIEWS, 0, 0)
    assert (report.unlabeled, report.unlabeled_windowed, report.unlabeled_open) == (texts, texts, 0)
    for windows, reviews in ((stream.windows(), REVIEWS), (stream.unlabeled_windows(), texts)):
        assert [window.reviews for window in windows] == [ROWS] * (reviews // ROWS)
        assert all(earlier.last_offset < later.first_offset for earlier, later in pairwise(windows))


def rises(stream: Stream, before: int) -> bool:
    return progress(stream) > before
