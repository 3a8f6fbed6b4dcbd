"""The adaptation on a tiny base: real Trainer, real checkpoints, real files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from transformers import TrainerCallback

from services.retrainer import alone
from services.retrainer.adaptation import job
from services.retrainer.adaptation.folder import TRAIN, VALIDATION, AdaptationFolder, AdaptationResult
from services.retrainer.launcher import Job
from services.retrainer.progress import ProgressReader, curve
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.classifier.masked import MaskedModel
from shared.classifier.model import Classifier
from shared.errors import TrainingError
from shared.exam import PARENT, PROBE_ADAPTED, PROBE_PARENT
from tests.models import tiny_masked
from tests.unit.retrainer.adaptation.builders import ADAPTATION, TRAINING, adaptation_run, texts
from tests.unit.retrainer.interrupting import Interrupted

pytestmark = pytest.mark.usefixtures("torch_as_before")

HEAD_STEPS, BODY_STEPS, PROBE_STEPS = 12, 18, 6


class KillAfter(TrainerCallback):
    """Ends the job after so many optimiser steps of all its trainings together."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._left -= 1
        if self._left == 0:
            raise Interrupted


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def done(run: AdaptationFolder, *callbacks: TrainerCallback) -> AdaptationResult:
    plan = run.plan()
    assert plan is not None
    job.do_locked(run, plan, callbacks)
    result = run.result()
    assert result is not None
    return result


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[AdaptationFolder, AdaptationResult]:
    run = adaptation_run(tmp_path_factory.mktemp("unbroken") / "run", cache)
    return run, done(run)


def test_the_adapted_base_guesses_the_streams_words_better(
    unbroken: tuple[AdaptationFolder, AdaptationResult],
) -> None:
    run, result = unbroken
    before, after = result.metrics.loss_before, result.metrics.loss_after
    assert before is not None
    assert after is not None
    assert after < before - 0.2
    assert (result.head_steps, result.metrics.steps, result.validation_rows) == (HEAD_STEPS, BODY_STEPS, 24)
    assert MaskedModel.load(run.model).window == 128


def test_all_parts_are_whole_and_named_by_their_digests(unbroken: tuple[AdaptationFolder, AdaptationResult]) -> None:
    run, result = unbroken
    assert (model_digest(run.model), model_digest(run.exam)) == (result.model_digest, result.exam_digest)
    assert {part.name for part in run.exam.iterdir()} == {PARENT, PROBE_PARENT, PROBE_ADAPTED}
    MaskedModel.load(run.parent)
    for name in (PROBE_PARENT, PROBE_ADAPTED):
        assert Classifier.load(run.probed(name)).labels == ("negative", "positive")


def test_only_the_head_of_the_parent_was_trained(
    unbroken: tuple[AdaptationFolder, AdaptationResult], cache: Path
) -> None:
    run, _ = unbroken
    base = load_file(open_base("tiny", cache) / "model.safetensors")
    parent, adapted = (load_file(folder / "model.safetensors") for folder in (run.parent, run.model))
    for name, tensor in base.items():
        torch.testing.assert_close(parent[f"distilbert.{name}"], tensor, rtol=0, atol=0)
        assert not torch.equal(adapted[f"distilbert.{name}"], tensor), name


def test_a_base_with_a_head_of_its_own_is_compared_as_it_came(tmp_path: Path, cache: Path) -> None:
    base = tiny_masked(tmp_path / "base")
    run = adaptation_run(tmp_path / "run", cache, base=base)
    result = done(run)
    assert result.head_steps == 0
    assert model_digest(run.parent) == model_digest(base)


def test_both_bases_are_fine_tuned_alike(unbroken: tuple[AdaptationFolder, AdaptationResult]) -> None:
    run, _ = unbroken
    plans = [run.probe_run(name).plan() for name in (PROBE_PARENT, PROBE_ADAPTED)]
    digests = [plan.start.base_digest for plan in plans if plan]
    assert digests == [model_digest(run.parent), model_digest(run.model)]
    same = [plan.model_copy(update={"start": None}) for plan in plans if plan]
    assert same[0] == same[1]


KILLS = {
    "head": 5,
    "end of head": HEAD_STEPS,
    "body": HEAD_STEPS + 7,
    "second pass of body": HEAD_STEPS + 10,
    "end of body": HEAD_STEPS + BODY_STEPS,
    "first probe": HEAD_STEPS + BODY_STEPS + 5,
    "second probe": HEAD_STEPS + BODY_STEPS + PROBE_STEPS + 5,
}


@pytest.mark.parametrize("steps", KILLS.values(), ids=KILLS)
def test_a_resumed_job_leaves_the_same_files_as_an_unbroken_one(
    tmp_path: Path, cache: Path, unbroken: tuple[AdaptationFolder, AdaptationResult], steps: int
) -> None:
    run = adaptation_run(tmp_path / "run", cache)
    with pytest.raises(Interrupted):
        done(run, KillAfter(steps))
    (run.exam / ".building-half").mkdir(parents=True, exist_ok=True)
    result, expected = done(run), unbroken[1]
    assert (result.model_digest, result.exam_digest) == (expected.model_digest, expected.exam_digest)
    assert (result.head_steps, result.metrics.steps, result.metrics.tokens_seen) == (
        expected.head_steps,
        expected.metrics.steps,
        expected.metrics.tokens_seen,
    )


def test_a_resumed_body_goes_on_from_its_last_checkpoint(tmp_path: Path, cache: Path) -> None:
    run = adaptation_run(tmp_path / "run", cache)
    with pytest.raises(Interrupted):
        done(run, KillAfter(HEAD_STEPS + 10))
    assert [place.name for place in sorted(run.checkpoints.iterdir())] == ["checkpoint-4", "checkpoint-8"]
    done(run)
    lines = run.progress_file.read_text().splitlines()
    assert [line for line in lines if "resumed_from" in line] == ['{"resumed_from":0}', '{"resumed_from":8}']


def test_a_job_that_is_started_again_after_its_end_makes_nothing_anew(
    unbroken: tuple[AdaptationFolder, AdaptationResult],
) -> None:
    run, result = unbroken
    run.result_file.unlink()
    again = done(run, KillAfter(1))
    assert again.model_dump(exclude={"metrics": {"seconds"}}) == result.model_dump(exclude={"metrics": {"seconds"}})


def test_the_curve_and_the_pictures_show_the_body(unbroken: tuple[AdaptationFolder, AdaptationResult]) -> None:
    run, result = unbroken
    points = curve(ProgressReader(run.progress_file).news())
    assert points[-1].step == BODY_STEPS
    assert points[-1].tokens_seen == result.metrics.tokens_seen
    pictures = {plot.name: plot.read_bytes()[:4] for plot in run.plots.iterdir()}
    assert pictures == {"loss_by_epochs.png": b"\x89PNG", "loss_by_tokens.png": b"\x89PNG"}


def test_no_checkpoint_outlives_what_it_was_for(unbroken: tuple[AdaptationFolder, AdaptationResult]) -> None:
    assert not list(unbroken[0].path.rglob("checkpoint-*"))


def test_of_a_registered_run_only_what_is_small_stays(tmp_path: Path, cache: Path) -> None:
    run = adaptation_run(tmp_path / "run", cache)
    done(run)
    run.drop_heavy_parts()
    assert {"plan.json", "result.json", "progress.jsonl", "plots"} <= {path.name for path in run.path.iterdir()}
    assert not list(run.path.rglob("*.safetensors"))
    assert not run.data.exists()


def test_without_validation_rows_nothing_is_measured(tmp_path: Path, cache: Path) -> None:
    run = adaptation_run(tmp_path / "run", cache)
    run.write_rows(VALIDATION, [])
    metrics = done(run).metrics
    assert (metrics.loss_before, metrics.loss_after) == (None, None)
    assert run.plots.is_dir()


def test_texts_without_words_do_no_harm(tmp_path: Path, cache: Path) -> None:
    run = adaptation_run(tmp_path / "run", cache)
    empty = [row.model_copy(update={"text": ""}) for row in texts(40)]
    run.write_rows(TRAIN, [*empty, *texts(56)])
    run.write_rows(VALIDATION, [*empty, *texts(8)])
    assert done(run).guesses > 0


def test_a_diverged_adaptation_is_an_error(tmp_path: Path, cache: Path) -> None:
    wild = ADAPTATION.model_copy(update={"learning_rate": 1e30})
    training = TRAINING.model_copy(update={"max_grad_norm": 1e30})
    run = adaptation_run(tmp_path / "run", cache, training=training, adaptation=wild)
    with pytest.raises(TrainingError, match=r"lower adaptation\.learning_rate"):
        done(run)
    assert not run.model.exists()


def test_two_jobs_never_work_in_one_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "LOCK_SECONDS", 0.1)
    run = adaptation_run(tmp_path / "run", cache)
    with FileLock(run.lock_file), pytest.raises(TrainingError, match="held by another job"):
        done(run)


def test_the_launched_job_is_the_same(
    tmp_path: Path, cache: Path, unbroken: tuple[AdaptationFolder, AdaptationResult]
) -> None:
    run = adaptation_run(tmp_path / "run", cache)
    running = Job(run, 240)
    while (end := running.poll()) is None:
        pass
    result = run.result()
    assert end.reason is None
    assert result is not None
    assert (result.model_digest, result.exam_digest) == (unbroken[1].model_digest, unbroken[1].exam_digest)
