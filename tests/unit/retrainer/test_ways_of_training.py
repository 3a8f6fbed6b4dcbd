"""Every way of training that a setting names, on a tiny model: each can be resumed, and leaves a plain model."""

from pathlib import Path
from typing import Any

import pytest

from services.retrainer import job
from services.retrainer.plan import ParentVersion, Plan, ReplayedWindow, StartPoint
from services.retrainer.runs import JobSetup, RunFolder, TrainingResult
from shared.classifier.model import Classifier
from shared.events import Snapshot
from shared.training_settings import (
    DistillationSettings,
    FrozenSettings,
    HardReplaySettings,
    LoraAdapterSettings,
    TrainingSettings,
)
from tests.models import tiny_classifier
from tests.unit.retrainer.builders import SHA, rows, tiny_run, window_id
from tests.unit.retrainer.interrupting import Interrupted, KillAt, weights

pytestmark = pytest.mark.usefixtures("torch_as_before")

NEW, OLD, HELD = 48, 24, 32
BATCH, CHECKPOINT = 12, 3
UPPER_LAYER = "distilbert.transformer.layer.1.ffn.lin1.weight"
PLAIN = TrainingSettings(
    epochs=2, batch_rows=BATCH, learning_rate=5e-3, checkpoint_steps=CHECKPOINT, log_steps=1, warmup_share=0
)
WAYS: dict[str, dict[str, Any]] = {
    "LoRA": {"adapter": LoraAdapterSettings(r=4, alpha=16), "learning_rate": 2e-2},
    "frozen": {"frozen": FrozenSettings(embeddings=True, layers=1)},
    "distilled": {"distillation": DistillationSettings(weight=1.0), "label_smoothing": 0.1},
    "hard rows": {"replay": HardReplaySettings()},
    "early stop": {"early_stop_patience": 1, "learning_rate": 3e-2, "epochs": 6.0},
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base's cache and a version to start from."""
    folder = tmp_path_factory.mktemp("shelf")
    tiny_classifier(folder / "parent", seed=4)
    return folder


def made(folder: Path, shelf: Path, way: str) -> tuple[RunFolder, Plan]:
    """A warm start with replayed rows of one earlier window."""
    settings = PLAIN.model_copy(update=WAYS[way])
    old = [row.model_copy(update={"window_id": window_id(1)}) for row in rows(OLD, start=NEW)]
    run = tiny_run(folder, shelf, settings, [*rows(NEW), *old], rows(HELD, start=NEW + OLD))
    plan = run.plan()
    assert plan is not None
    offsets = tuple(row.offset for row in old)
    changes = {
        "replay": (
            ReplayedWindow(
                window_id=window_id(1), snapshot=Snapshot(path="p", sha256=SHA, size_bytes=1), offsets=offsets
            ),
        ),
        "replay_kept": 12 if way == "hard rows" else None,
        "start": StartPoint(base="tiny", base_digest=SHA, parents=(ParentVersion(version="3", digest=SHA),)),
    }
    run.write(run.setup_file, JobSetup(start_folders=(shelf / "parent",), threads=1))
    plan = plan.model_copy(update=changes)
    run.write(run.plan_file, plan)
    return run, plan


def done(run: RunFolder, plan: Plan) -> TrainingResult:
    job.do_locked(run, plan)
    result = run.result()
    assert result is not None
    return result


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_learns_and_a_resumed_job_ends_with_the_weights_of_an_unbroken_training(
    tmp_path: Path, shelf: Path, way: str
) -> None:
    whole, plan = made(tmp_path / "whole", shelf, way)
    unbroken = done(whole, plan)
    broken, plan = made(tmp_path / "broken", shelf, way)
    with pytest.raises(Interrupted):
        job.do_locked(broken, plan, [KillAt(CHECKPOINT + 1)])
    resumed = done(broken, plan)
    assert resumed.resumed_from_step == CHECKPOINT
    assert (resumed.best_step, resumed.replay_kept) == (unbroken.best_step, unbroken.replay_kept)
    expected, found = weights(whole), weights(broken)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.equal(expected[name]), name
    parent = Classifier.load(shelf / "parent").model.state_dict()
    assert expected.keys() == parent.keys()
    assert not expected[UPPER_LAYER].equal(parent[UPPER_LAYER])
    assert Classifier.load(whole.model).labels == plan.labels


def test_frozen_weights_leave_as_they_came(tmp_path: Path, shelf: Path) -> None:
    run, plan = made(tmp_path / "run", shelf, "frozen")
    done(run, plan)
    before, after = Classifier.load(shelf / "parent").model.state_dict(), weights(run)
    same = {name for name, weight in after.items() if weight.equal(before[name])}
    assert {name for name in after if "embeddings" in name or "layer.0." in name} <= same
    assert "classifier.weight" not in same


def test_hard_rows_are_named_in_the_result(tmp_path: Path, shelf: Path) -> None:
    run, plan = made(tmp_path / "run", shelf, "hard rows")
    kept = done(run, plan).replay_kept
    assert kept is not None
    assert [(rows_kept.window_id, len(rows_kept.offsets)) for rows_kept in kept] == [(window_id(1), plan.replay_rows)]
    assert plan.replay_rows == 12


def test_an_early_stop_goes_back_to_the_best_and_stays_stopped(tmp_path: Path, shelf: Path) -> None:
    run, plan = made(tmp_path / "run", shelf, "early stop")
    first = done(run, plan)
    all_steps = 6 * (NEW + OLD) // BATCH
    assert first.metrics.steps < all_steps
    assert first.best_step == first.metrics.steps - CHECKPOINT
    run.result_file.unlink()
    again = done(run, plan)
    assert again.resumed_from_step == first.metrics.steps
    assert again.model_digest == first.model_digest
