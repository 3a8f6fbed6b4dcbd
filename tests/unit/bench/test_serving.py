"""The bench of serving without the real servers: its load, its figures, its claims, and a run against a stand-in."""

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import serving
from bench.serve import load, tuned
from bench.serve.claims import BUSY, LIGHT, claims
from bench.serve.client import NOT_ANSWERED, render
from bench.serve.contestants import NAIVE, OURS, Contestant, Running, Workplace, chosen
from bench.serve.load import Job, send_times
from bench.serve.measures import (
    Answers,
    Cost,
    Overload,
    Point,
    medians,
    overload_of,
    percentile,
    point_of,
    read_answers,
)
from bench.serve.peers import LITSERVE, NotInstalledError, install
from bench.serve.race import Course
from bench.serve.tidemill import Planned, lineage_of
from bench.serve.tuned import window_of
from bench.training import Rows
from services.retrainer.runs import TrainingRow
from services.server.card import Card
from services.server.holdout import read_holdout
from shared.archive import Archive
from shared.classifier.model import Classifier
from shared.settings import load_settings
from tests.models import tiny_classifier

FREE = Cost(0.0, 0.0, 100.0)


class Handler(BaseHTTPRequestHandler):
    """Answers every text alike, but refuses the text 'no' and hangs up on 'bye'."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        if text == "bye":
            self.close_connection = True
            return
        body = json.dumps({"label": "positive", "score": 0.75, "text": text}).encode()
        self.send_response(503 if text == "no" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving_here() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with serving_here() as port:
        yield port


def requests(*texts: str) -> list[str]:
    return [render("/", json.dumps({"text": text}).encode()) for text in texts]


def loaded(job: Job, folder: Path) -> Answers:
    load.write(job, folder)
    load.main(folder)
    return read_answers(folder)


def test_a_closed_loop_asks_again_once_it_is_answered(port: int, tmp_path: Path) -> None:
    answers = loaded(Job(port, requests("good", "bad"), connections=2, seconds=0.3, keep_bodies=True), tmp_path)
    assert set(answers.status) == {200}
    for text, body in zip(answers.text, answers.bodies, strict=True):
        assert json.loads(body)["text"] == ["good", "bad"][text]
    under_way = [((answers.sent <= sent) & (answers.done > sent)).sum() for sent in answers.sent]
    assert max(under_way) <= 2


def test_an_open_loop_asks_for_each_that_is_due_and_notes_what_was_refused_or_lost(port: int, tmp_path: Path) -> None:
    job = Job(port, requests("good", "no", "bye"), connections=8, seconds=0.3, rate=100.0)
    answers = loaded(job, tmp_path)
    by_text = {text: set(answers.status[answers.text == text]) for text in range(3)}
    assert by_text == {0: {200}, 1: {503}, 2: {NOT_ANSWERED}}
    assert np.sort(answers.intended) - answers.intended.min() == pytest.approx(list(send_times(100.0, 0.3)))
    assert (answers.sent >= answers.intended).all()


def test_a_closed_loop_ends_though_nobody_listens(tmp_path: Path) -> None:
    with serving_here() as port:
        pass
    assert len(loaded(Job(port, requests("good"), connections=4, seconds=0.1), tmp_path).status) == 0


@pytest.mark.parametrize("rate", [None, 100.0])
def test_a_load_that_sent_the_most_it_may_fails(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float | None
) -> None:
    monkeypatch.setattr(load, "MOST_REQUESTS", 5)
    with pytest.raises(SystemExit, match="5 requests are the most"):
        loaded(Job(port, requests("good"), connections=1, seconds=0.3, rate=rate), tmp_path)
    assert len(read_answers(tmp_path).status) == 5


def test_what_is_due_while_nobody_listens_is_noted_as_not_answered(tmp_path: Path) -> None:
    with serving_here() as port:
        pass
    job = Job(port, requests("good"), connections=4, seconds=0.1, rate=50.0, drain_seconds=0.1)
    answers = loaded(job, tmp_path)
    assert answers.status.tolist() == [NOT_ANSWERED] * 5


@given(rate=st.floats(0.1, 500), seconds=st.floats(0.1, 5))
def test_an_open_loop_keeps_its_rate_whatever_becomes_of_the_answers(rate: float, seconds: float) -> None:
    times = list(send_times(rate, seconds))
    assert len(times) == round(rate * seconds)
    assert np.allclose(np.diff(times), 1 / rate)


@given(values=st.lists(st.floats(0, 1e6), min_size=1), share=st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(np.array(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_nothing_has_no_percentile() -> None:
    assert percentile(np.array([]), 0.5) is None


def answers_of(*rows: tuple[float, float, float, int]) -> Answers:
    """Rows of intended, sent, done, status."""
    intended, sent, done, status = map(np.array, zip(*rows, strict=True))
    return Answers(np.zeros(len(rows), np.int64), intended, sent, done, status, processor_seconds=0.002)


def test_latency_counts_from_when_a_request_was_due_and_what_never_came_is_not_forgotten() -> None:
    answers = answers_of(
        (0, 0, 9, 200), (1, 1, 1.1, 200), (2, 2.5, 3, 200), (2.5, 2.5, 8, NOT_ANSWERED), (4, 4, 5, 200)
    )
    point = point_of(answers, OURS, "open", 1, 1, warm_up=1, seconds=2, cost=FREE)
    assert (point.answered, point.failed, point.per_second) == (2, 1, 1.0)
    assert (point.p50, point.p99) == (1000, 5500)
    assert point.client_seconds == pytest.approx(0.5)


def test_a_closed_loop_is_judged_by_what_was_answered_in_its_time() -> None:
    answers = answers_of((0, 0, 1.5, 200), (0.5, 0.5, 2.9, 200), (1, 1, 1.2, 500), (2, 2, 3.5, 200))
    point = point_of(answers, OURS, "closed", 8, 1, warm_up=1, seconds=2, cost=Cost(6.0, 3.0, 100.0))
    assert (point.answered, point.failed, point.per_second) == (2, 1, 1.0)
    assert (point.server_seconds, point.beside_seconds) == (2000, 1000)


def test_goodput_counts_what_was_answered_in_time_once_the_queue_is_full() -> None:
    answers = answers_of(
        (0, 0, 0.5, 200),  # before it is
        (1, 1, 2.5, 200),
        (1, 1, 3.5, 200),  # too late
        (3, 3, 3.01, 503),
        (3, 3.5, 3.53, 429),
        (3, 3, 9, NOT_ANSWERED),
        (3, 3, 4.5, 200),  # when nobody asks any more
    )
    found = overload_of(answers, OURS, 2, 1, deadline=2, warm_up=2, seconds=2, memory=[100, 130, 110])
    assert (found.asked, found.goodput, found.late, found.refused, found.lost) == (2, 0.5, 1, 2, 1)
    assert found.refused_p50 == pytest.approx(10)
    assert (found.memory_before, found.memory_peak, found.memory_after) == (100, 130, 110)


def point(
    name: str, loop: str, load: float, per_second: float, wait: float | None, number: int = 0, failed: int = 0
) -> Point:
    return Point(name, loop, load, number, per_second, wait, wait, wait, 10, failed, 1.0, None, 1.0, 100.0)


def test_rounds_are_told_by_their_median_and_all_their_failures() -> None:
    rounds = [
        point(OURS, "closed", 1, rate, wait, n, failed=1)
        for n, (rate, wait) in enumerate([(1, 5), (9, None), (3, 7)], 1)
    ]
    (found,) = medians(rounds)
    assert (found.per_second, found.p50, found.failed, found.round, found.beside_seconds) == (3, 6, 3, 0, None)


def overload(times: float, goodput: float, refused: float | None = None, peak: float = 110) -> Overload:
    return Overload(OURS, times, 1, times * 100, goodput, 0, 9, 0, refused, 100, peak, 100)


def figures(ours: float, tail: float, light: float) -> list[Point]:
    """One peer answers 20 a second, another 10; the naive server 5."""
    found = []
    for name, rate, p99, p50 in (
        (OURS, ours, tail, light),
        ("ray", 20.0, 900.0, 9),
        ("mlflow", 10, 300, 9),
        (NAIVE, 5, 99, 10),
    ):
        found.append(point(name, "closed", BUSY, rate, 1))
        found.append(point(name, "open", 5.0, 5, p99))
        found.append(point(name, "closed", LIGHT, 1, p50))
    return found


def held(points: list[Point], overloads: list[Overload], low_precision: bool) -> list[bool | None]:
    return [claim.holds for claim in claims(points, overloads, 5.0, low_precision)]


def test_claims_hold_beside_the_best_peer_and_the_naive_server() -> None:
    good = [overload(1, 100), overload(2, 90, refused=49, peak=125)]
    assert held(figures(40, 100, 10), good, low_precision=True) == [True] * 7
    assert held(figures(39, 101, 11), good, low_precision=True)[:4] == [False, True, False, False]
    assert held(figures(30, 100, 10), good, low_precision=False)[:2] == [True, True]
    assert held(figures(29, 100, 10), good, low_precision=False)[:2] == [False, True]
    bad = [overload(1, 100), overload(2, 89, refused=51, peak=126)]
    assert held(figures(40, 100, 10), bad, low_precision=True)[4:] == [False, False, False]


@pytest.mark.parametrize(
    ("loop", "load", "fallen"),
    [
        pytest.param("closed", BUSY, [False, False, True, True], id="throughput"),
        pytest.param("open", 5.0, [True, True, False, True], id="p99"),
    ],
)
def test_a_claim_of_speed_falls_with_one_failed_request_of_ours(loop: str, load: float, fallen: list[bool]) -> None:
    good = [overload(1, 100), overload(2, 90, refused=49, peak=125)]
    points = figures(40, 100, 10)

    def failing(name: str) -> list[Point]:
        return [replace(e, failed=1) if (e.contestant, e.loop, e.load) == (name, loop, load) else e for e in points]

    assert held(failing(OURS), good, low_precision=True) == [*fallen, True, True, True]
    assert held(failing("ray"), good, low_precision=True) == [True] * 7


def test_a_claim_without_its_figures_is_not_judged() -> None:
    alone = [each for each in figures(40, 100, 10) if each.contestant == OURS]
    assert held(alone, [overload(1, 100), overload(2, 100)], low_precision=True) == [None] * 4 + [True, None, True]
    assert held([], [], low_precision=True) == [None] * 7


def options(**said: str) -> argparse.Namespace:
    return argparse.Namespace(**{"plan": "auto", "model": "bundled", "device": "cpu"} | said)


def test_more_is_claimed_only_where_other_precisions_may_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "low_precision", lambda device: True)
    assert serving.claims_low_precision(options())
    assert serving.claims_low_precision(options(plan="torch-int8-t2-b1024"))
    for exact in (options(plan="off"), options(plan="torch-fp32-t2-b1024")):
        assert not serving.claims_low_precision(exact)
    monkeypatch.setattr(serving, "low_precision", lambda device: False)
    assert not serving.claims_low_precision(options())


def test_plans_are_told_with_their_figures_and_what_stood_against_them() -> None:
    tried = (
        {"plan": "torch-fp32-t2-b4096", "speed": 1.0, "refusal": "another goes before it"},
        {"plan": "torch-bf16-t2-b4096", "speed": 2.1, "rows": 400, "labels_agree": 0.9975, "chosen": True},
    )
    said, _, exact, rough = serving.plan_lines(Planned("auto", "torch-bf16-t2-b4096", None, tried))
    assert said.strip() == "plan: torch-bf16-t2-b4096 serves, with server.plan.use = auto"
    assert exact.split() == ["torch-fp32-t2-b4096", "1.00", "-", "-", "-", "another", "goes", "before", "it"]
    assert rough.split() == ["torch-bf16-t2-b4096", "2.10", "400", "99.75%", "-", "chosen"]
    assert "only fp32 may: too few" in serving.plan_lines(Planned("auto", "torch-fp32-t2-b4096", "too few"))[0]


def rows(count: int) -> Rows:
    kept = [TrainingRow(window_id="w-0", offset=n, text=f"snippet {n}", label=n % 2) for n in range(count + 2)]
    return Rows(kept[:count], kept[count:])


def test_the_server_finds_the_held_out_rows_of_a_registered_version(tmp_path: Path) -> None:
    archive = Archive(load_settings(home=tmp_path))
    window = window_of(rows(3))
    tags = lineage_of("w-0", archive.write("w-0", window), len(window), "c" * 64).to_tags()
    found = read_holdout(archive, Card(version="1", digest="c" * 64, tags=tags), most=400)
    assert (found.texts, found.labels.tolist()) == (["snippet 3", "snippet 4"], [1, 0])


def test_a_model_is_fine_tuned_once_for_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = []

    def learner(base: Path, folder: Path, some: Rows, training: Any) -> Classifier:
        learned.append(len(some.train))
        return Classifier.load(tiny_classifier(tmp_path / f"learned-{len(learned)}"))

    monkeypatch.setattr(tuned, "open_base", lambda name, cache: tiny_classifier(tmp_path / "base"))
    monkeypatch.setattr(tuned, "ours", lambda precision: learner)
    first = tuned.fine_tuned(rows(3), tmp_path / "cache")
    assert tuned.fine_tuned(rows(3), tmp_path / "cache") == first
    assert tuned.fine_tuned(rows(4), tmp_path / "cache") != first
    assert learned == [3, 4]


def test_contestants_are_chosen_by_name_in_the_order_of_the_bench() -> None:
    assert [each.name for each in chosen("tidemill,naive")] == [NAIVE, OURS]
    with pytest.raises(SystemExit, match="nobody"):
        chosen("naive,nobody")


def test_a_peer_that_is_not_installed_is_not_fetched_for_a_quick_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIDEMILL_CACHE", str(tmp_path))
    with pytest.raises(NotInstalledError, match="not installed"):
        install(LITSERVE, may_download=False)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def stand_in(place: Workplace) -> Iterator[Running]:
    with serving_here() as port:
        yield Running(port, os.getpid())


@contextmanager
def stand_in_with_plans(place: Workplace) -> Iterator[Running]:
    with serving_here() as port:
        yield Running(port, os.getpid(), planned=Planned(place.plan, "torch-fp32"))


@contextmanager
def broken(place: Workplace) -> Iterator[Running]:
    raise OSError("it has no legs")
    yield


def test_a_run_measures_whoever_starts_and_names_whoever_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def contestant(name: str, start: Any) -> Contestant:
        read = lambda answer: (answer["label"], answer["score"])  # noqa: E731
        return Contestant(name, name, start, "/", lambda text: {"text": text}, read)

    racing = [contestant(NAIVE, stand_in), contestant("ray", broken), contestant(OURS, stand_in_with_plans)]
    target, picture = tmp_path / "report.json", tmp_path / "picture.png"
    monkeypatch.setattr(serving, "chosen", lambda names: racing)
    monkeypatch.setattr(serving, "real_rows", lambda: rows(3))
    monkeypatch.setattr(serving, "fine_tuned", lambda rows, cache: tiny_classifier(tmp_path / "tiny"))
    monkeypatch.setattr(serving, "packaged_texts", lambda count: {"short": ["fine", "dull"]})
    monkeypatch.setattr(serving, "use_threads", lambda count: None)
    monkeypatch.setattr(serving, "QUICK", Course((1, 2), (1.0,), 0.2, 0.1, 0.2, overload_all=False))
    monkeypatch.setattr(sys, "argv", ["serving", "--quick", "--json", str(target), "--picture", str(picture)])
    with pytest.raises(SystemExit, match="^0$"):
        serving.main()
    report = json.loads(target.read_text())
    assert report["absent"] == {"ray": "OSError: it has no legs"}
    loads = [(each["contestant"], each["loop"], each["load"]) for each in report["points"]]
    rate = report["saturating"]
    assert loads == [(n, *at) for n in (NAIVE, OURS) for at in (("closed", 1), ("closed", 2), ("open", rate))]
    assert [(each["contestant"], each["times"]) for each in report["overloads"]] == [(OURS, 1), (OURS, 2)]
    assert all(each["failed"] == 0 for each in report["points"])
    assert report["planned"] == [{"asked": "auto", "serves": "torch-fp32", "only_exact": None, "tried": []}]
    assert len(report["claims"]) == 7
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
    assert picture.stat().st_size > 0
