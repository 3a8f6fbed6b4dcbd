"""A folder is there whole or not at all, whoever builds it and whatever happens."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.classifier.folders import build_once


def writing(text: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "file").write_text(text)

    return build


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        writing("half")(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_once(tmp_path / "target", fail)
    assert list(tmp_path.iterdir()) == []


def test_whoever_finishes_second_uses_the_firsts(tmp_path: Path) -> None:
    target = tmp_path / "target"

    def overtaken(folder: Path) -> None:
        writing("second")(folder)
        build_once(target, writing("first"))

    assert build_once(target, overtaken) == target
    assert (target / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_others_may_read_the_result(tmp_path: Path) -> None:
    target = build_once(tmp_path / "deep" / "target", writing("x"))
    assert target.stat().st_mode & 0o055 == 0o055
