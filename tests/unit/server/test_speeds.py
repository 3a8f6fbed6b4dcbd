"""What was measured is known to the next process, for the same machine and for a while."""

from pathlib import Path

import pytest

from services.server.speeds import Speeds
from shared.classifier.plan import Plan

FAST, SLOW = Plan("torch", "int8", 1, 256), Plan("torch", "bf16", 1, 256)
SECONDS = {FAST: 1.0, SLOW: float("inf")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "speeds.json"


def test_what_was_kept_is_known_to_another_process(file: Path) -> None:
    Speeds(file, "here", 60).keep("small", SECONDS)
    Speeds(file, "here", 60).keep("large", {FAST: 9.0})
    again = Speeds(file, "here", 60)
    assert again.known("small", [FAST, SLOW]) == SECONDS
    assert again.known("small", [FAST]) == {FAST: 1.0}
    assert again.known("large", [FAST]) == {FAST: 9.0}


@pytest.mark.parametrize(
    ("machine", "seconds", "shape", "plan"),
    [
        ("there", 60, "small", FAST),
        ("here", 0, "small", FAST),
        ("here", 60, "large", FAST),
        ("here", 60, "small", SLOW),
    ],
)
def test_another_machine_shape_or_plan_and_old_figures_are_not_known(
    file: Path, machine: str, seconds: float, shape: str, plan: Plan
) -> None:
    Speeds(file, "here", 60).keep("small", {FAST: 1.0})
    assert Speeds(file, machine, seconds).known(shape, [plan]) is None


def test_a_damaged_file_is_written_anew(file: Path) -> None:
    file.write_text("{")
    speeds = Speeds(file, "here", 60)
    assert speeds.known("small", [FAST]) is None
    speeds.keep("small", SECONDS)
    assert speeds.known("small", [FAST]) == {FAST: 1.0}


def test_a_disk_that_takes_nothing_costs_only_the_note(file: Path) -> None:
    Speeds(file / "no" / "folder", "here", 60).keep("small", SECONDS)
