"""Whoever follows a log goes on where it is begun anew."""

import itertools
import os
from pathlib import Path

import pytest

from services.control import stack


def test_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"one\ntwo\nthree \xff\n")
    assert list(stack._lines(log, 2, follow=False)) == ["two\n", "three \ufffd\n"]
    assert len(list(stack._lines(log, 10, follow=False))) == 3


def test_a_log_that_is_begun_anew_is_followed_from_its_new_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "server.log"
    log.write_text("a long line before\n")
    events = iter([lambda: os.truncate(log, 0), lambda: log.write_text("anew\n")])
    monkeypatch.setattr(stack.time, "sleep", lambda seconds: next(events)())
    assert list(itertools.islice(stack._lines(log, 10, follow=True), 2)) == ["a long line before\n", "anew\n"]
