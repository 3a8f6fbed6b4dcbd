from pathlib import Path

from services.retrainer.plan import RebuiltVersion
from services.retrainer.runs import RunFolder, Runs
from shared.settings import StreamSettings
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import closed_window, rows, tiny_plan, window_id


def test_rows_survive_the_disk_whatever_they_hold(tmp_path: Path) -> None:
    run = Runs(tmp_path, StreamSettings(), RunFolder).folder(window_id(0))
    written = [row.model_copy(update={"text": f"{row.text} \u2028 naïve\n“film” 👍"}) for row in rows(3)]
    run.write_rows("train", written)
    assert run.rows("train") == written


def test_failures_are_counted_across_restarts(tmp_path: Path) -> None:
    Runs(tmp_path, StreamSettings(), RunFolder).folder(window_id(0)).add_failure("killed by SIGKILL")
    assert Runs(tmp_path, StreamSettings(), RunFolder).folder(window_id(0)).add_failure("exit code 1") == [
        "killed by SIGKILL",
        "exit code 1",
    ]


def test_a_merged_window_finds_the_run_that_learns_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path, StreamSettings(), RunFolder)
    run = runs.folder(window_id(1))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    plan = tiny_plan(tmp_path / "base", 10, TrainingSettings())
    merged = (plan.windows[0], plan.windows[0].model_copy(update={"window_id": window_id(1), "sequence": 1}))
    run.write(run.plan_file, plan.model_copy(update={"windows": merged}))
    found = [runs.planned_with(closed_window(place)) for place in range(3)]
    assert [None if folder is None else folder.path for folder in found] == [run.path, run.path, None]


def test_what_is_small_stays_when_the_heavy_parts_go(tmp_path: Path) -> None:
    runs = Runs(tmp_path, StreamSettings(), RunFolder)
    run, other = runs.folder(window_id(0)), runs.folder(window_id(1))
    for folder in (run, other):
        folder.write_rows("train", rows(3))
        (folder.checkpoints / "checkpoint-50").mkdir(parents=True)
        folder.add_failure("why")
    runs.drop_heavy_parts_of(frozenset({window_id(0)}))
    assert [path.name for path in sorted(run.path.iterdir())] == ["attempts.json"]
    assert other.checkpoints.exists()


def test_streams_in_one_home_have_runs_of_their_own(tmp_path: Path) -> None:
    ours, theirs = (Runs(tmp_path, StreamSettings(prefix=prefix), RunFolder) for prefix in ("ours", "theirs"))
    assert ours.folder(window_id(0)).path != theirs.folder(window_id(0)).path


def planned(tmp_path: Path) -> tuple[Runs, RunFolder]:
    """The first window's run, with its plan."""
    runs = Runs(tmp_path, StreamSettings(), RunFolder)
    run = runs.folder(window_id(0))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    run.write(run.plan_file, tiny_plan(tmp_path / "base", 10, TrainingSettings()))
    return runs, run


def test_the_plan_of_the_same_rows_is_found_again(tmp_path: Path) -> None:
    runs, run = planned(tmp_path)
    assert runs.of([closed_window(0)]).plan() == run.plan() is not None


def test_a_plan_for_other_rows_of_the_same_name_is_set_aside(tmp_path: Path) -> None:
    """As after a new Kafka in an old home: offsets, and with them the names of windows, begin again."""
    runs, run = planned(tmp_path)
    window = closed_window(0)
    anew = window.model_copy(update={"snapshot": window.snapshot.model_copy(update={"sha256": "b" * 64})})
    assert runs.planned_with(anew) is None
    assert runs.of([anew]).plan() is None
    assert [path.name[:8] for path in run.path.parent.iterdir()] == ["other-w-"]


def test_a_window_is_not_taken_for_the_rebuild_that_learns_it_again(tmp_path: Path) -> None:
    runs, run = planned(tmp_path)
    plan = run.plan()
    assert plan is not None
    rebuild = runs.folder("rebuild-1")
    rebuild.write(rebuild.plan_file, plan.model_copy(update={"rebuild": RebuiltVersion(version="1", name="rebuild-1")}))
    run.plan_file.unlink()
    assert runs.planned_with(closed_window(0)) is None


def test_a_rebuild_is_tidied_like_any_run(tmp_path: Path) -> None:
    runs = Runs(tmp_path, StreamSettings(), RunFolder)
    rebuild = runs.folder("rebuild-1")
    rebuild.write_rows("train", rows(3))
    runs.drop_heavy_parts_of(frozenset({"rebuild-1"}))
    assert not rebuild.data.exists()
