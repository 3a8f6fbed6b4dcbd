"""What is said of two trainings that should have been one."""

from pathlib import Path

import pytest

from services.retrainer.environment import Environment
from services.retrainer.likeness import compare, environment_differences
from tests.models import biased_tiny

TEXTS = ("a fine film", "a dull film", "")
THEN = Environment(
    python="3.11",
    platform="Linux",
    cpus=2,
    cpu_model="A",
    cpu_flags=("avx2", "bf16"),
    threads=2,
    device="cpu",
    device_name="cpu",
    packages={"torch": "2.11", "numpy": "2.0"},
)


def test_the_same_model_twice_differs_in_nothing(tmp_path: Path) -> None:
    folder = biased_tiny(tmp_path / "model", (0.0, 0.0))
    found = compare(folder, folder, TEXTS)
    assert (found.weights_identical, found.differing_files, found.rows) == (True, (), 3)
    assert (found.largest_difference, found.answers_changed) == (0.0, 0)


def test_other_weights_are_measured_by_their_answers(tmp_path: Path) -> None:
    one = biased_tiny(tmp_path / "one", (9.0, 0.0))
    other = biased_tiny(tmp_path / "other", (0.0, 9.0))
    found = compare(one, other, TEXTS)
    assert (found.weights_identical, found.differing_files) == (False, ("model.safetensors",))
    assert found.answers_changed == 3
    assert found.largest_difference == pytest.approx(1.0, abs=0.01)


def test_another_file_beside_the_same_weights_is_named(tmp_path: Path) -> None:
    one, other = (biased_tiny(tmp_path / name, (0.0, 0.0)) for name in ("one", "other"))
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    found = compare(one, other, TEXTS)
    assert (found.weights_identical, found.differing_files) == (True, ("config.json",))


def test_the_same_environment_differs_in_nothing() -> None:
    assert environment_differences(THEN, THEN) == ()


def test_each_circumstance_that_changed_is_named() -> None:
    changed = {"threads": 1, "cpu_flags": ("amx", "avx2"), "packages": {"torch": "2.12", "river": "1"}}
    found = environment_differences(THEN, THEN.model_copy(update=changed))
    assert [(each.what, each.then, each.now) for each in found] == [
        ("threads", "2", "1"),
        ("cpu_flags", "bf16", "amx"),
        ("package numpy", "2.0", None),
        ("package river", None, "1"),
        ("package torch", "2.11", "2.12"),
    ]
