"""The job on a tiny model: real Trainer, real checkpoints, real files."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from services.retrainer import alone, job
from services.retrainer.checkpoints import MARKER, latest_complete, step_of
from services.retrainer.encoding import Collator, EncodedRows
from services.retrainer.launcher import Job, JobEnd
from services.retrainer.plan import ParentVersion, Plan, StartPoint
from services.retrainer.progress import ProgressReader, Resumed, curve
from services.retrainer.runs import JobSetup, RunFolder, TrainingResult
from services.retrainer.trainer import build_trainer, course_of, training_arguments
from services.retrainer.training import open_start
from shared.classifier.base import open_base
from shared.classifier.calibration import fold_temperature, head_of
from shared.classifier.digest import model_digest
from shared.classifier.model import Classifier, new_classifier
from shared.errors import ModelError, TrainingError
from shared.training_settings import TrainingSettings
from tests.models import tiny_classifier
from tests.unit.retrainer.builders import SHA, rows, tiny_run
from tests.unit.retrainer.interrupting import Interrupted, KillAt, weights

pytestmark = pytest.mark.usefixtures("torch_as_before")

SETTINGS = TrainingSettings(epochs=8, learning_rate=5e-3, checkpoint_steps=8, log_steps=2)
ROWS = 96  # 6 steps an epoch
STEPS = 48


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def made(folder: Path, cache: Path, settings: TrainingSettings = SETTINGS, held: int = 40) -> tuple[RunFolder, Plan]:
    run = tiny_run(folder, cache, settings, rows(ROWS), rows(held, start=ROWS))
    plan = run.plan()
    assert plan is not None
    return run, plan


def done(run: RunFolder, plan: Plan) -> TrainingResult:
    job.do_locked(run, plan)
    result = run.result()
    assert result is not None
    return result


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[RunFolder, TrainingResult]:
    run, plan = made(tmp_path_factory.mktemp("unbroken") / "run", cache)
    return run, done(run, plan)


def test_it_learns_and_says_how_much(unbroken: tuple[RunFolder, TrainingResult]) -> None:
    _, result = unbroken
    assert (result.metrics.steps, result.metrics.rows_seen) == (STEPS, 8 * ROWS)
    assert result.metrics.tokens_seen > 8 * ROWS * 5
    assert result.validation_accuracy == 1.0
    assert result.metrics.final_loss < 0.5


@pytest.mark.parametrize("flipped", [True, False])
def test_labels_that_contradict_the_start_are_not_learned(
    tmp_path: Path, cache: Path, unbroken: tuple[RunFolder, TrainingResult], flipped: bool
) -> None:
    given = [row.model_copy(update={"label": 1 - row.label if flipped else row.label}) for row in rows(ROWS)]
    run = tiny_run(tmp_path / "run", cache, SETTINGS, given)
    plan = run.plan()
    assert plan is not None
    parent = ParentVersion(version="1", digest=SHA)
    plan = plan.model_copy(update={"start": plan.start.model_copy(update={"parents": (parent,)})})
    run.write(run.setup_file, JobSetup(start_folders=(unbroken[0].model,), threads=1))
    assert job.is_distrusted(run, plan) is flipped
    assert ("100% of the 96 from 'no source'" in (run.distrust() or "")) is flipped
    run.write_rows("train", [])
    assert job.is_distrusted(run, plan) is flipped, "a restart asks again instead of reading what was said"


def test_a_base_that_knows_no_labels_is_not_asked(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache)
    assert not job.is_distrusted(run, plan)
    assert run.quality() is None


def test_the_model_is_whole_calibrated_and_named_by_its_digest(unbroken: tuple[RunFolder, TrainingResult]) -> None:
    run, result = unbroken
    classifier = Classifier.load(run.model)
    assert model_digest(run.model) == result.model_digest
    tokenizer = json.loads((run.model / "components" / "tokenizer" / "tokenizer.json").read_text())
    assert (tokenizer["padding"], tokenizer["truncation"]) == (None, None)
    assert classifier.temperature == pytest.approx(result.metrics.temperature) != 1.0
    assert classifier.labels == ("negative", "positive")
    assert result.calibration_rows == 40


def test_all_words_of_the_base_are_there_and_those_in_no_row_as_they_were(
    cache: Path, unbroken: tuple[RunFolder, TrainingResult]
) -> None:
    base = new_classifier(open_base("tiny", cache), ("negative", "positive"), seed=3)
    before, after = (
        classifier.model.get_input_embeddings().weight.detach()
        for classifier in (base, Classifier.load(unbroken[0].model))
    )
    occurring = EncodedRows(rows(ROWS + 40), base, 64).words
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert set(changed) == occurring - {base.pad_id}


def test_the_curve_is_recorded_against_steps_and_tokens(unbroken: tuple[RunFolder, TrainingResult]) -> None:
    run, result = unbroken
    points = curve(ProgressReader(run.progress_file).news())
    assert [point.step for point in points] == [1, *range(2, STEPS + 1, 2)]
    assert points[-1].tokens_seen == result.metrics.tokens_seen
    assert [plot.read_bytes()[:4] for plot in sorted(run.plots.iterdir())] == [b"\x89PNG"] * 2


@pytest.mark.parametrize("step", [9, 25, 47], ids=lambda step: f"killed after step {step}")
def test_a_resumed_job_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, cache: Path, unbroken: tuple[RunFolder, TrainingResult], step: int
) -> None:
    run, plan = made(tmp_path / "run", cache)
    with pytest.raises(Interrupted):
        job.do_locked(run, plan, [KillAt(step)])
    result = done(run, plan)
    assert result.resumed_from_step == step // 8 * 8
    expected = weights(unbroken[0])
    for name, tensor in weights(run).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
    assert result.metrics.tokens_seen == unbroken[1].metrics.tokens_seen


def test_a_kill_after_the_last_step_costs_no_training(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache)
    first = done(run, plan)
    run.result_file.unlink()
    again = done(run, plan)
    assert again.resumed_from_step == STEPS
    assert again.model_digest == first.model_digest


def test_a_half_written_checkpoint_is_not_resumed_from(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache)
    with pytest.raises(Interrupted):
        job.do_locked(run, plan, [KillAt(17)])
    (run.checkpoints / "checkpoint-16" / MARKER).unlink()
    assert done(run, plan).resumed_from_step == 8


def test_only_two_checkpoints_are_kept(unbroken: tuple[RunFolder, TrainingResult]) -> None:
    kept = unbroken[0].checkpoints.glob("checkpoint-*")
    assert sorted(step_of(checkpoint) for checkpoint in kept) == [40, STEPS]


def test_few_calibration_rows_leave_the_temperature_alone(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache, SETTINGS.model_copy(update={"epochs": 1.0}), held=29)
    result = done(run, plan)
    assert (result.metrics.temperature, result.calibration_rows) == (1.0, 0)


def test_a_fraction_of_an_epoch_is_possible(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache, SETTINGS.model_copy(update={"epochs": 0.5}))
    assert done(run, plan).metrics.steps == 3


def test_a_diverged_training_is_an_error(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache, SETTINGS.model_copy(update={"learning_rate": 1e12, "max_grad_norm": 1e9}))
    with pytest.raises((ModelError, TrainingError)):
        job.do_locked(run, plan)
    assert run.result() is None


def warm_start(*versions: str) -> StartPoint:
    parents = tuple(ParentVersion(version=version, digest=SHA) for version in versions)
    return StartPoint(base="tiny", base_digest=SHA, parents=parents)


def test_a_champion_goes_on_from_what_training_left(tmp_path: Path, cache: Path) -> None:
    _, plan = made(tmp_path / "run", cache)
    folder = tiny_classifier(tmp_path / "champion", seed=5)
    champion = Classifier.load(folder)
    before = head_of(champion.model).weight.detach().clone()
    fold_temperature(champion.model, 2.5)
    champion.save(folder)
    warm = plan.model_copy(update={"start": warm_start("3")})
    torch.testing.assert_close(head_of(open_start([folder], warm).model).weight, before)


def test_several_versions_start_as_their_average_before_temperature(tmp_path: Path, cache: Path) -> None:
    _, plan = made(tmp_path / "run", cache)
    folders = [tiny_classifier(tmp_path / str(seed), seed=seed) for seed in (5, 6)]
    heads = [head_of(Classifier.load(folder).model).weight.detach().clone() for folder in folders]
    hot = Classifier.load(folders[1])
    fold_temperature(hot.model, 2.5)
    hot.save(folders[1])
    soup = open_start(folders, plan.model_copy(update={"start": warm_start("3", "4")}))
    torch.testing.assert_close(head_of(soup.model).weight.detach(), (heads[0] + heads[1]) / 2)
    assert soup.temperature == 1.0


def test_a_champion_of_other_labels_is_refused(tmp_path: Path, cache: Path) -> None:
    _, plan = made(tmp_path / "run", cache)
    folder = tiny_classifier(tmp_path / "champion", labels=("bad", "good"))
    warm = plan.model_copy(update={"start": warm_start("3")})
    with pytest.raises(ModelError, match="champion: its labels are"):
        open_start([folder], warm)


def test_the_schedule_is_warm_up_then_cosine_to_a_tenth(unbroken: tuple[RunFolder, TrainingResult]) -> None:
    rates = [point.learning_rate for point in curve(ProgressReader(unbroken[0].progress_file).news())]
    peak = rates.index(max(rates))
    assert rates[0] == 0.0
    assert max(rates) == pytest.approx(5e-3, rel=0.05)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(5e-4, rel=0.3)


def test_biases_and_norms_do_not_decay(tmp_path: Path, cache: Path) -> None:
    run, plan = made(tmp_path / "run", cache)
    assert training_arguments(course_of(run, plan), steps_per_epoch=6).weight_decay == 0.01
    classifier = open_start(run.setup().start_folders, plan)
    encoded = EncodedRows(rows(ROWS), classifier, 64)
    trainer = build_trainer(run, plan, classifier.model, Collator(classifier), encoded, encoded, [])
    optimizer = trainer.create_optimizer()
    exempt = {id(p) for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    names = {name for name, parameter in classifier.model.named_parameters() if id(parameter) in exempt}
    assert {
        name for name, _ in classifier.model.named_parameters() if "bias" in name or "norm" in name.lower()
    } == names


def launched(run: RunFolder, timeout_seconds: float = 120.0) -> JobEnd:
    running = Job(run, timeout_seconds)
    try:
        while (end := running.poll()) is None:
            os.sched_yield()
        return end
    finally:
        running.terminate()


def test_a_launched_job_leaves_a_result(tmp_path: Path, cache: Path) -> None:
    run, _ = made(tmp_path / "run", cache, SETTINGS.model_copy(update={"epochs": 1.0}))
    assert launched(run) == JobEnd(None)
    assert run.result() is not None
    assert isinstance(ProgressReader(run.progress_file).news()[0], Resumed)


@pytest.mark.slow
def test_two_processes_share_each_batch_and_learn_as_one_does(
    tmp_path: Path, cache: Path, unbroken: tuple[RunFolder, TrainingResult]
) -> None:
    run, _ = made(tmp_path / "run", cache, SETTINGS.model_copy(update={"processes": 2}))
    assert launched(run) == JobEnd(None)
    result = run.result()
    assert result is not None
    assert (result.metrics.steps, result.metrics.rows_seen) == (STEPS, 8 * ROWS)
    assert result.validation_accuracy == 1.0
    one, two = (losses(folder) for folder in (unbroken[0], run))
    # Each process draws its own dropout; the rest is the same.
    assert one.keys() == two.keys()
    assert sum(abs(one[step] - two[step]) for step in one) / len(one) < 0.05


@pytest.mark.parametrize("worker", [{}, {"LOCAL_RANK": "0", "RANK": "0"}], ids=["the job", "a worker of torchrun"])
def test_a_job_whose_parent_is_gone_before_it_has_begun_does_nothing(
    tmp_path: Path, cache: Path, worker: dict[str, str]
) -> None:
    run, _ = made(tmp_path / "run", cache)
    nobody = 2**22 + 1  # beyond the largest process id
    command = [sys.executable, "-m", "services.retrainer.job", str(run.path), str(nobody)]
    assert subprocess.run(command, env=os.environ | worker, timeout=60, check=False).returncode == 1
    assert not run.progress_file.exists()
    assert not run.lock_file.exists()


def losses(run: RunFolder) -> dict[int, float]:
    return {point.step: point.loss for point in curve(ProgressReader(run.progress_file).news())}


@pytest.mark.slow
def test_a_job_without_its_rows_fails_with_the_last_lines_of_its_log(tmp_path: Path, cache: Path) -> None:
    run, _ = made(tmp_path / "run", cache)
    (run.data / "train.jsonl").unlink()
    end = launched(run)
    assert end.reason is not None
    assert end.reason.startswith("exit code 1: ")
    assert "train.jsonl" in end.reason


def test_a_job_that_takes_too_long_is_killed(tmp_path: Path, cache: Path) -> None:
    run, _ = made(tmp_path / "run", cache)
    end = launched(run, timeout_seconds=0.01)
    assert end.reason is not None
    assert "training.timeout_seconds" in end.reason


def test_a_killed_job_says_by_what_and_can_go_on(tmp_path: Path, cache: Path) -> None:
    run, _ = made(tmp_path / "run", cache, SETTINGS.model_copy(update={"epochs": 2000.0}))
    running = Job(run, 120)
    while latest_complete_or_none(run) is None:
        assert running.poll() is None, run.log_file.read_text()
    os.kill(running.pid, signal.SIGKILL)
    while (end := running.poll()) is None:
        os.sched_yield()
    assert end.reason is not None
    assert end.reason.startswith("killed by SIGKILL")
    assert latest_complete(run.checkpoints) is not None


def latest_complete_or_none(run: RunFolder) -> Path | None:
    """Looks without deleting: the job is still writing."""
    return next(run.checkpoints.glob(f"checkpoint-*/{MARKER}"), None)


def test_two_jobs_never_work_in_one_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "LOCK_SECONDS", 0.1)
    run, plan = made(tmp_path / "run", cache)
    with FileLock(run.lock_file), pytest.raises(TrainingError, match="held by another job"):
        job.do_locked(run, plan)


def test_the_same_plan_gives_the_same_model(
    tmp_path: Path, cache: Path, unbroken: tuple[RunFolder, TrainingResult]
) -> None:
    run, plan = made(tmp_path / "run", cache)
    assert done(run, plan).model_digest == unbroken[1].model_digest
