"""kill -9 of every service and of the broker in turn, while reviews are published and queries run."""

import itertools
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.e2e.mill import TINY, Mill, ask_forever, reviews, wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

VICTIMS = ("ingestor", "retrainer", "evaluator", "server", "kafka")
ROUNDS = 2
ROWS_PER_KILL = 400


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    started = Mill(tmp_path / "home", TINY)
    started.command("up")
    yield started
    started.command("down")


def kill(mill: Mill, victim: str) -> None:
    """SIGKILL, then wait until the supervisor has it running again under another process id."""
    pid = mill.pid(victim)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: mill.endpoints["processes"][victim]["pid"] not in (None, pid), 60, f"{victim} to be restarted")
    wait_for(lambda: mill.endpoints["processes"][victim]["phase"] == "ready", 180, f"{victim} to be ready again")


@contextmanager
def server_away(mill: Mill, away: threading.Event) -> Iterator[None]:
    """Excuses requests from before the server is killed until it serves again; every other death costs no answer."""
    away.set()
    yield
    with mill.http() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 60, "the champion to serve again")
    away.clear()


def test_nothing_is_lost_doubled_or_answered_wrongly(mill: Mill) -> None:
    """After ten kills: the audit is clean, each window has one version, each version gives one answer to a text."""
    published = mill.publish(reviews(630, seed=0))
    with mill.http() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 240, "the first champion")
    stopping, away = threading.Event(), threading.Event()
    texts = itertools.cycle([row["text"] for row in reviews(50, seed=99)])
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_forever, mill, texts, stopping, away)
        try:
            for number, victim in enumerate(VICTIMS * ROUNDS, start=1):
                published += mill.publish(reviews(ROWS_PER_KILL, seed=number))
                with server_away(mill, away) if victim == "server" else nullcontext():
                    kill(mill, victim)
            wait_for(lambda: settled(mill, published), 600, "all windows to be decided")
        finally:
            stopping.set()
        stream = asking.result(60)

    report = mill.json("audit")
    assert report["ok"], report
    assert report["published"] == published
    assert one_version_per_window(mill)
    assert not stream.failures
    assert stream.answers
    assert_answers_agree(mill, stream.answers)


def settled(mill: Mill, published: int) -> bool:
    """Whether everything published is curated and every closed window decided."""
    windows, decisions = mill.json("windows"), mill.json("decisions")
    report = mill.json("audit")
    decided = {entry["window_id"] for entry in decisions}
    return report["waiting"] == 0 and report["published"] == published and {w["window"] for w in windows} <= decided


def one_version_per_window(mill: Mill) -> bool:
    """An undecided version has an entry for each look; a settled one has no other after that."""
    ledger = mill.json("decisions")
    pairs = {(entry["window_id"], entry["version"]) for entry in ledger}
    windows = [window for window, _ in pairs]
    versions = [version for _, version in pairs if version]
    settled = [entry["version"] for entry in ledger if entry["version"] and entry["verdict"] in ("promote", "reject")]
    return all(len(set(found)) == len(found) for found in (windows, versions, settled))


def assert_answers_agree(mill: Mill, answers: list[tuple[str, str, str]]) -> None:
    """A version that never was champion must not have answered, and the same text gets the same answer from it."""
    champions = {entry["champion_after"] for entry in mill.json("decisions")}
    labels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for text, label, version in answers:
        assert version in champions
        labels[text, version].add(label)
    assert all(len(found) == 1 for found in labels.values())
