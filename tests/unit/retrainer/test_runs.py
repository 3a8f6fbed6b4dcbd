from pathlib import Path

from services.retrainer.runs import Runs
from shared.settings import TrainingSettings
from tests.unit.retrainer.builders import rows, tiny_plan, window_id


def test_rows_survive_the_disk_whatever_they_hold(tmp_path: Path) -> None:
    run = Runs(tmp_path).folder(window_id(0))
    written = [row.model_copy(update={"text": f"{row.text} \u2028 naïve\n“film” 👍"}) for row in rows(3)]
    run.write_rows("train", written)
    assert run.rows("train") == written


def test_failures_are_counted_across_restarts(tmp_path: Path) -> None:
    Runs(tmp_path).folder(window_id(0)).add_failure("killed by SIGKILL")
    assert Runs(tmp_path).folder(window_id(0)).add_failure("exit code 1") == ["killed by SIGKILL", "exit code 1"]


def test_a_merged_window_finds_the_run_that_learns_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    run = runs.folder(window_id(1))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    plan = tiny_plan(tmp_path / "base", 10, TrainingSettings())
    merged = (plan.windows[0], plan.windows[0].model_copy(update={"window_id": window_id(1), "sequence": 1}))
    run.write(run.plan_file, plan.model_copy(update={"windows": merged}))
    found = [runs.planned_with(window_id(place)) for place in range(3)]
    assert [None if folder is None else folder.path for folder in found] == [run.path, run.path, None]


def test_what_is_small_stays_when_the_heavy_parts_go(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    run, other = runs.folder(window_id(0)), runs.folder(window_id(1))
    for folder in (run, other):
        folder.write_rows("train", rows(3))
        (folder.checkpoints / "checkpoint-50").mkdir(parents=True)
        folder.add_failure("why")
    runs.drop_heavy_parts_of(frozenset({window_id(0)}))
    assert [path.name for path in sorted(run.path.iterdir())] == ["attempts.json"]
    assert other.checkpoints.exists()
