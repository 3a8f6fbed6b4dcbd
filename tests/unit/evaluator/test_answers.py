"""A model is asked about a row once; the cache is bounded and never in the way."""

import sqlite3
from pathlib import Path

import numpy as np

from services.evaluator.answers import AnswerCache, Probabilities


def answer(positive: float) -> Probabilities:
    return np.array([1 - positive, positive], np.float32)


def open_cache(folder: Path, keep_models: int = 8, keep_rows: int = 100) -> AnswerCache:
    return AnswerCache(folder / "evaluator" / "answers.sqlite", keep_models, keep_rows)


def test_answers_come_back_as_they_were_after_a_restart(tmp_path: Path) -> None:
    open_cache(tmp_path).put("m", {"a": answer(0.1), "b": answer(0.9)})
    found = open_cache(tmp_path).get("m", ["b", "a", "c"])
    assert sorted(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], answer(0.1))


def test_another_models_answers_are_never_taken(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put("m", {"a": answer(0.1)})
    assert cache.get("other", ["a"]) == {}


def test_only_the_latest_rows_of_a_model_are_kept(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, keep_rows=3)
    for key in "abcde":
        cache.put("m", {key: answer(0.5)})
    assert sorted(cache.get("m", list("abcde"))) == ["c", "d", "e"]


def test_only_the_models_used_last_are_kept(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, keep_models=2)
    for model in ("first", "second", "first", "third"):
        cache.put(model, {"a": answer(0.5)})
    assert [bool(cache.get(model, ["a"])) for model in ("first", "second", "third")] == [True, False, True]


def test_a_file_damaged_under_way_is_dropped_and_the_models_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "evaluator" / "answers.sqlite"
    cache = open_cache(tmp_path)
    cache.put("m", {"a": answer(0.1)})
    for _ in range(2):
        path.write_bytes(b"this is no database" * 100)
        assert cache.get("m", ["a"]) == {}
        path.write_bytes(b"this is no database" * 100)
        cache.put("m", {"a": answer(0.1)})
    cache.put("m", {"b": answer(0.1)})
    assert sorted(cache.get("m", ["a", "b"])) == ["b"]


def test_a_damaged_file_is_started_over(tmp_path: Path) -> None:
    path = tmp_path / "evaluator" / "answers.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    cache = open_cache(tmp_path)
    cache.put("m", {"a": answer(0.1)})
    assert sqlite3.connect(path).execute("SELECT count(*) FROM answers").fetchone() == (1,)
