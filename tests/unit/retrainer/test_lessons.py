"""The start model's part in a training, on a tiny model."""

from pathlib import Path

import numpy as np
import pytest

from services.retrainer.hard_rows import row_losses
from services.retrainer.lessons import ANSWERS_FILE, prepare_lessons
from services.retrainer.plan import ParentVersion, Plan, ReplayedWindow, StartPoint
from services.retrainer.runs import RunFolder, TrainingRow
from shared.classifier.model import Classifier
from shared.events import Snapshot
from shared.training_settings import DistillationSettings, HardReplaySettings, TrainingSettings
from tests.models import biased_tiny
from tests.unit.retrainer.builders import SHA, rows, tiny_run, window_id

NEW, OLD = 12, 20
HARD = TrainingSettings(replay=HardReplaySettings(hard_share=0.5))
TAUGHT = TrainingSettings(distillation=DistillationSettings(weight=1.0))


def replayed_rows() -> list[TrainingRow]:
    """Of two earlier windows, in turn."""
    return [
        row.model_copy(update={"window_id": window_id(1 + place % 2)})
        for place, row in enumerate(rows(OLD, start=1000))
    ]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(biased_tiny(tmp_path_factory.mktemp("start") / "model", (0.0, 2.0), seed=4))


def run_of(
    folder: Path, training: TrainingSettings, kept: int | None = None, warm: bool = True
) -> tuple[RunFolder, Plan]:
    run = tiny_run(folder / "run", folder / "cache", training, [*rows(NEW), *replayed_rows()])
    made = run.plan()
    assert made is not None
    snapshot = Snapshot(path="p", sha256=SHA, size_bytes=1)
    replay = tuple(
        ReplayedWindow(
            window_id=name,
            snapshot=snapshot,
            offsets=tuple(row.offset for row in replayed_rows() if row.window_id == name),
        )
        for name in (window_id(1), window_id(2))
    )
    parents = (ParentVersion(version="3", digest=SHA),) if warm else ()
    start = StartPoint(base="tiny", base_digest=SHA, parents=parents)
    return run, made.model_copy(update={"replay": replay, "replay_kept": kept, "start": start})


def test_a_plain_plan_learns_all_its_rows_and_asks_nobody(tmp_path: Path, start: Classifier) -> None:
    run, plan = run_of(tmp_path, TrainingSettings())
    lessons = prepare_lessons(run, plan, start)
    assert (len(lessons.rows), lessons.teaching, lessons.kept) == (NEW + OLD, None, None)
    assert not (run.data / ANSWERS_FILE).exists()


def test_the_rows_that_the_start_finds_hardest_are_kept_and_named(tmp_path: Path, start: Classifier) -> None:
    run, plan = run_of(tmp_path, HARD, kept=8)
    lessons = prepare_lessons(run, plan, start)
    old = replayed_rows()
    logits = start.predict([row.text for row in old]).logits
    losses = row_losses(logits, [row.label for row in old])
    hardest = {old[place].offset for place in np.argsort(-losses)[:4]}
    kept = [row for row in lessons.rows if row.offset >= 1000]
    assert lessons.rows[:NEW] == rows(NEW)
    assert len(kept) == plan.replay_rows == 8
    assert hardest <= {row.offset for row in kept}
    assert lessons.kept is not None
    named = {(found.window_id, offset) for found in lessons.kept for offset in found.offsets}
    assert named == {(row.window_id, row.offset) for row in kept}


def test_the_start_teaches_on_replayed_rows_only(tmp_path: Path, start: Classifier) -> None:
    run, plan = run_of(tmp_path, TAUGHT)
    lessons = prepare_lessons(run, plan, start)
    assert lessons.teaching is not None
    assert lessons.teaching.taught.tolist() == [False] * NEW + [True] * OLD
    expected = start.predict([row.text for row in replayed_rows()]).logits
    np.testing.assert_allclose(lessons.teaching.logits[NEW:], expected, rtol=1e-4, atol=1e-5)


def test_a_base_under_a_fresh_head_teaches_nothing(tmp_path: Path, start: Classifier) -> None:
    run, plan = run_of(tmp_path, TAUGHT, warm=False)
    assert prepare_lessons(run, plan, start).teaching is None


def test_a_resumed_job_has_the_same_lessons_whatever_its_model_says_now(tmp_path: Path, start: Classifier) -> None:
    both = TAUGHT.model_copy(update={"replay": HARD.replay})
    run, plan = run_of(tmp_path, both, kept=8)
    first = prepare_lessons(run, plan, start)
    other = Classifier.load(biased_tiny(tmp_path / "other", (5.0, 0.0), seed=9))
    again = prepare_lessons(run, plan, other)
    assert (again.rows, again.kept) == (first.rows, first.kept)
    assert first.teaching is not None
    assert again.teaching is not None
    np.testing.assert_array_equal(again.teaching.logits, first.teaching.logits)
    assert len(first.teaching.taught) == len(first.rows)
