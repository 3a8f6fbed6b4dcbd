"""Logs stay within their bound while somebody writes them, and what is written goes on at their new beginning."""

import shutil
from pathlib import Path

import pytest

from deploy.local.log_files import bound

MOST = 100


def grown(folder: Path, name: str = "retrainer", size: int = MOST + 1) -> Path:
    log = folder / f"{name}.log"
    log.write_bytes(b"x" * size)
    return log


def test_a_log_is_begun_anew_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "retrainer.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * (MOST + 1))
        assert list(bound(tmp_path, MOST)) == []
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "retrainer.log.1").read_bytes() == b"a" * (MOST + 1)


def test_of_many_parts_the_last_one_is_kept_beside_the_log(tmp_path: Path) -> None:
    with (tmp_path / "server.log").open("ab", buffering=0) as writer:
        for part in (b"a", b"b", b"c"):
            writer.write(part * (MOST + 1))
            list(bound(tmp_path, MOST))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "server.log": b"",
        "server.log.1": b"c" * (MOST + 1),
    }


def test_a_log_within_its_bound_is_left_alone(tmp_path: Path) -> None:
    log = grown(tmp_path, size=MOST)
    assert list(bound(tmp_path, MOST)) == []
    assert log.stat().st_size == MOST
    assert list(tmp_path.iterdir()) == [log]


def test_a_log_that_cannot_be_kept_is_said_and_emptied_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(shutil, "copyfile", full)
    log = grown(tmp_path)
    (trouble,) = bound(tmp_path, MOST)
    assert "no space left" in trouble
    assert log.stat().st_size == 0


def test_a_log_that_cannot_be_emptied_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "broken.log").symlink_to(tmp_path / "nowhere")
    other = grown(tmp_path)
    (trouble,) = bound(tmp_path, MOST)
    assert "broken.log is not bounded" in trouble
    assert other.stat().st_size == 0
