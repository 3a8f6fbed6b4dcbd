"""The bundled base on real text about films: what adaptation gains on texts that it never saw, and a resumed one."""

import bz2
import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.setup.datasets import ROTTEN_TOMATOES
from services.retrainer.adaptation import job
from services.retrainer.adaptation.folder import PROBE, TRAIN, VALIDATION, AdaptationFolder, AdaptationResult, TextRow
from services.retrainer.plan import Hardware
from services.retrainer.runs import JobSetup, TrainingRow
from shared.classifier.base import open_base
from shared.classifier.masked import MaskedLosses, MaskedModel, masked_losses
from shared.classifier.precision import choose_precision
from shared.text import prepare
from shared.training_settings import AdaptationSettings, TrainingSettings
from tests.unit.retrainer.adaptation.builders import adaptation_plan, text_id
from tests.unit.retrainer.adaptation.test_job import KillAfter
from tests.unit.retrainer.builders import window_id
from tests.unit.retrainer.interrupting import Interrupted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.usefixtures("torch_as_before")]

PLOTS, SNIPPETS, HELD_OUT, LABELLED = 200, 400, 150, 160
LABELS = {"rotten": 0, "fresh": 1}
TRAINING = TrainingSettings(epochs=1, checkpoint_steps=10)
ADAPTATION = AdaptationSettings(epochs=2, head_epochs=2)
STEPS_AN_EPOCH = -(-(PLOTS + SNIPPETS) // TRAINING.batch_rows)


@dataclass(frozen=True)
class RealText:
    """Distinct texts of both kinds, in an order that is always the same."""

    plots: list[str]
    snippets: list[tuple[str, int]]


@pytest.fixture(scope="module")
def real() -> RealText:
    content = bz2.decompress(ROTTEN_TOMATOES.path.read_bytes()).decode(errors="replace")
    rows = list(csv.DictReader(io.StringIO(content)))
    plots = sorted({prepare(row["text"]) for row in rows if row["category"] == "plot"})
    snippets = sorted(
        {prepare(row["text"]): LABELS[row["category"]] for row in rows if row["category"] in LABELS}.items()
    )
    for texts in (plots, snippets):
        random.Random(1).shuffle(texts)
    return RealText(plots, snippets)


def rows_of(texts: Sequence[str]) -> list[TextRow]:
    return [TextRow(window_id=text_id(0), offset=place, text=text) for place, text in enumerate(texts)]


def run_of(folder: Path, base: Path, real: RealText) -> AdaptationFolder:
    """An adaptation to some of the texts; others are validation rows, and yet others are labelled."""
    run = AdaptationFolder(folder)
    precision = choose_precision("auto", "cpu")
    plan = adaptation_plan(base, PLOTS + SNIPPETS, TRAINING, ADAPTATION)
    run.write(run.plan_file, plan.model_copy(update={"hardware": Hardware(device="cpu", precision=precision)}))
    snippets = [text for text, _ in real.snippets]
    run.write_rows(TRAIN, rows_of([*real.plots[:PLOTS], *snippets[:SNIPPETS]]))
    run.write_rows(VALIDATION, rows_of(snippets[SNIPPETS : SNIPPETS + 40]))
    labelled = enumerate(real.snippets[-LABELLED:])
    run.write_rows(
        PROBE,
        [
            TrainingRow(window_id=window_id(0), offset=place, text=text, label=label)
            for place, (text, label) in labelled
        ],
    )
    run.write(run.setup_file, JobSetup(start_folders=(base,), threads=1))
    return run


def done(run: AdaptationFolder) -> AdaptationResult:
    plan = run.plan()
    assert plan is not None
    job.do_locked(run, plan)
    result = run.result()
    assert result is not None
    return result


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_base("bundled", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, base: Path, real: RealText
) -> tuple[AdaptationFolder, AdaptationResult]:
    run = run_of(tmp_path_factory.mktemp("unbroken") / "run", base, real)
    return run, done(run)


def test_perplexity_falls_on_real_texts_that_were_held_out(
    unbroken: tuple[AdaptationFolder, AdaptationResult], real: RealText
) -> None:
    """On either kind, by more than the chance of which words were asked."""
    run, _ = unbroken
    held_out = {
        "snippets": [text for text, _ in real.snippets[1000 : 1000 + HELD_OUT]],
        "plots": real.plots[-HELD_OUT:],
    }
    for kind, texts in held_out.items():
        before, after = (lost(folder, texts) for folder in (run.parent, run.model))
        print(f"{kind}: perplexity {before.perplexity:.0f} -> {after.perplexity:.0f}")
        assert before.guesses.tolist() == after.guesses.tolist()
        assert after.mean < before.mean - 0.2, kind


def lost(folder: Path, texts: Sequence[str]) -> MaskedLosses:
    return masked_losses(MaskedModel.load(folder), texts, mask_share=ADAPTATION.mask_share, max_tokens=256)


def test_a_resumed_adaptation_is_an_unbroken_one(
    tmp_path: Path, base: Path, real: RealText, unbroken: tuple[AdaptationFolder, AdaptationResult]
) -> None:
    run, plan = run_of(tmp_path / "run", base, real), unbroken[0].plan()
    assert plan is not None
    killed_at = 2 * STEPS_AN_EPOCH + STEPS_AN_EPOCH + 5  # in the second pass of the body
    with pytest.raises(Interrupted):
        job.do_locked(run, plan, [KillAfter(killed_at)])
    result, expected = done(run), unbroken[1]
    assert (result.model_digest, result.exam_digest) == (expected.model_digest, expected.exam_digest)
