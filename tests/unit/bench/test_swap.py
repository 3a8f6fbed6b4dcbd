"""The bench of swaps without its servers: whose answers they were, which requests met a swap, and what memory did."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.serve.measures import Answers
from bench.serve.swap_picture import draw_swaps
from bench.serve.swaps import Checked, Memory, Swap, Waited, apart, check, meets, memory_of, swap_claims, waited
from bench.swap import asked, make_versions, must_go_on
from tests.models import tiny_classifier

REFERENCES = {"1": np.array([0.2, 0.8]), "2": np.array([0.5, 0.3])}
SWAPS = [Swap("2", 10.0, 11.0), Swap("1", 12.0, 13.0)]


def body(version: str, score: float, plan: str = "torch-fp32") -> str:
    answer = {"scores": {"positive": score}}
    return json.dumps({"model": {"version": version, "plan": plan}, "predictions": [answer]})


def answers(rows: list[tuple[float, float]], bodies: list[str] | None = None, status: int = 200) -> Answers:
    """Rows of intended and done; texts in turn."""
    intended, done = np.array(rows).T
    texts, statuses = np.arange(len(rows)) % 2, np.full(len(rows), status)
    return Answers(texts, intended, intended, done, statuses, bodies=tuple(bodies or [""] * len(rows)))


def checked(*bodies: str) -> Checked:
    return check(answers([(0, 1)] * len(bodies), list(bodies)), REFERENCES, "positive", tolerance=0.02)


def test_answers_of_the_version_that_they_name_are_right() -> None:
    found = checked(body("1", 0.2), body("2", 0.300001), body("2", 0.49, plan="torch-int8"))
    assert (found.answered, found.failed, found.wrong) == (3, 0, 0)
    assert found.by_version == {"1": 1, "2": 2}
    assert found.by_plan == {"torch-fp32": 2, "torch-int8": 1}
    assert found.largest_difference == pytest.approx(0.01)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(body("1", 0.5), id="another version's"),
        pytest.param(body("3", 0.2), id="of a version that never was"),
        pytest.param(body("1", 0.2001), id="further off than rounding"),
        pytest.param(body("1", 0.23, plan="torch-int8"), id="further off than the plan may be"),
    ],
)
def test_an_answer_is_wrong_that_is(answer: str) -> None:
    assert checked(answer).wrong == 1


def test_what_was_refused_is_a_failure_and_not_an_answer() -> None:
    found = check(answers([(0, 1)], ["{}"], status=503), REFERENCES, "positive", 0.02)
    assert (found.answered, found.failed, found.wrong) == (0, 1, 0)


def test_texts_that_tell_all_versions_apart_are_found() -> None:
    references = [np.array([0.1, 0.1, 0.5]), np.array([0.4, 0.9, 0.1]), np.array([0.6, 0.12, 0.9])]
    assert apart(references, 0.1) == [0, 2]


def test_a_request_meets_a_swap_if_it_was_under_way_at_any_moment_of_it() -> None:
    rows = [(8, 9), (9, 10), (10.2, 10.3), (10.9, 11.5), (11.1, 11.9), (9, 14), (11, 12.5), (13.1, 14)]
    assert meets(answers(rows), SWAPS).tolist() == [False, True, True, True, False, True, True, False]
    found = waited(answers(rows), SWAPS)
    assert (found.during, found.between) == (5, 2)
    assert found.p99_during == pytest.approx(5000)
    assert found.p99_between == pytest.approx(900)


def test_memory_is_judged_after_the_warm_up() -> None:
    swaps = [Swap("1", second, second + 0.4) for second in range(100)]
    looks = [(second + 0.5, 1000.0 if second < 30 else 500.0 + second) for second in range(100)]
    found = memory_of(looks, swaps)
    assert (found.begin, found.end, found.one, found.peak) == (533, 596, 530, 599)
    assert found.per_100_swaps == pytest.approx(99.4)


def test_what_one_model_takes_is_seen_between_swaps_and_the_peak_at_any_time() -> None:
    swaps = [Swap("1", second, second + 0.4) for second in range(100)]
    during = [(second + 0.2, 900.0 if second == 50 else 300.0) for second in range(100)]
    between = [(second + 0.7, 500.0) for second in range(100)]
    found = memory_of(sorted(during + between), swaps)
    assert (found.begin, found.end, found.one, found.peak) == (500, 500, 500, 900)


def held(
    failed: int = 0,
    wrong: int = 0,
    versions: int = 2,
    during: float = 20,
    end: float = 110,
    peak: float = 239,
    gpu_end: float | None = None,
) -> list[bool | None]:
    answered = Checked(9, failed, wrong, {str(n): 1 for n in range(versions)}, {}, 0.0)
    wait, memory = Waited(9, 9, 5, during, 5, 10), Memory(100, end, 90, peak, 1)
    on_gpu = Memory(100, gpu_end, 90, peak, 1) if gpu_end else None
    return [claim.holds for claim in swap_claims(answered, wait, memory, 2, weights_mib=100, on_gpu=on_gpu)]


def test_each_claim_falls_with_what_it_is_about() -> None:
    assert held() == [True] * 5
    assert held(failed=1) == [False, True, True, True, True]
    assert held(wrong=1) == held(versions=1) == [True, False, True, True, True]
    assert held(during=21) == [True, True, False, True, True]
    assert held(end=111) == [True, True, True, False, True]
    assert held(peak=240) == [True, True, True, True, False]
    assert held(gpu_end=100) == [True] * 6
    assert held(gpu_end=111) == [True, True, True, True, False, True]
    assert held(gpu_end=100, peak=240) == [True, True, True, True, True, False]


def ended(code: str) -> "subprocess.Popen[bytes]":
    running = subprocess.Popen([sys.executable, "-c", code])
    running.wait()
    return running


def test_a_load_that_ended_before_the_swaps_did_is_a_failure_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "load.log").write_text("the most requests were sent")
    for code, status in (("pass", 0), ("raise SystemExit(3)", 3)):
        with pytest.raises(SystemExit, match=f"status {status}, before the swaps did, after 7.*the most requests"):
            must_go_on(ended(code), tmp_path, swaps=7)


def test_swaps_go_on_while_the_load_does(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as load:
        must_go_on(load, tmp_path, swaps=1)


def test_versions_share_their_body_and_answer_differently(tmp_path: Path) -> None:
    texts = ["fine", "dull", "a film of great beauty"]
    files = make_versions(tiny_classifier(tmp_path / "tiny"), tmp_path, 2)
    first, second = (asked(each, texts, "cpu", at_once=False) for each in files)
    assert np.abs(first - second).min() > 1e-3
    assert asked(files[0], texts, "cpu", at_once=True) == pytest.approx(first, abs=1e-6)


def test_the_picture_shows_a_run(tmp_path: Path) -> None:
    target = tmp_path / "swaps.png"
    draw_swaps(answers([(10, 10.5), (12, 13)]), [(10.0, 500.0), (13.0, 510.0)], SWAPS, target)
    assert target.stat().st_size > 0
