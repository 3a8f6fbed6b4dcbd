from pathlib import Path

import pytest

from services.retrainer.checkpoints import MARKER, is_complete, latest_complete, mark_complete, step_of


def checkpoint(folder: Path, step: int, complete: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir()
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "trainer_state.json").write_text("{}")
    if complete:
        mark_complete(made)
    return made


def test_the_newest_complete_checkpoint_is_found_by_number(tmp_path: Path) -> None:
    for step in (50, 100, 1000):
        checkpoint(tmp_path, step)
    found = latest_complete(tmp_path)
    assert found is not None
    assert step_of(found) == 1000


def test_a_half_written_checkpoint_is_passed_over_and_deleted(tmp_path: Path) -> None:
    checkpoint(tmp_path, 50)
    torn = checkpoint(tmp_path, 100, complete=False)
    found = latest_complete(tmp_path)
    assert found is not None
    assert step_of(found) == 50
    assert not torn.exists()


@pytest.mark.parametrize("damage", ["shorter", "missing", "marker"])
def test_a_checkpoint_damaged_after_its_marker_does_not_count(tmp_path: Path, damage: str) -> None:
    made = checkpoint(tmp_path, 50)
    if damage == "shorter":
        (made / "model.safetensors").write_bytes(b"wei")
    elif damage == "missing":
        (made / "trainer_state.json").unlink()
    else:
        (made / MARKER).write_text('{"model.saf')
    assert not is_complete(made)
    assert latest_complete(tmp_path) is None


def test_a_run_without_checkpoints_starts_from_the_beginning(tmp_path: Path) -> None:
    assert latest_complete(tmp_path / "checkpoints") is None
