"""What an adaptation makes, one part after another. A part that is there is whole, and is not made again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback

from services.retrainer.adaptation.folder import TRAIN, VALIDATION, AdaptationFolder
from services.retrainer.adaptation.learning import begin_head, learn
from services.retrainer.adaptation.plan import AdaptationPlan
from services.retrainer.finishing import refuse_diverged
from services.retrainer.lessons import this_device
from services.retrainer.progress import ProgressReader, curve
from services.retrainer.runs import JobSetup
from services.retrainer.trainer import Course
from services.retrainer.training import train
from shared.classifier.digest import model_digest
from shared.classifier.folders import build_once
from shared.classifier.masked import MaskedLosses, MaskedModel, masked_losses, with_word_head
from shared.classifier.probe import prove
from shared.exam import PROBE_ADAPTED, PROBE_PARENT

Callbacks = Sequence[TrainerCallback]


def make_parent(run: AdaptationFolder, plan: AdaptationPlan, callbacks: Callbacks) -> None:
    """The base that is adapted, as a model that guesses words: a head that it lacks is trained, the body frozen.

    Without that, learning the head would pass for adaptation.
    """

    def build(target: Path) -> None:
        model, fresh = with_word_head(run.setup().start_folders[0], plan.seed)
        if fresh:
            rows = run.rows(TRAIN)
            begin_head(model, rows, plan.training.max_tokens)
            model.model.base_model.requires_grad_(False)
            course = Course(plan.of_head(), plan.hardware, plan.seed, run.head_checkpoints, run.head_progress_file)
            run.write(run.head_file, learn(course, model, rows, plan.adaptation.mask_share, callbacks))
        model.save(target)

    build_once(run.parent, build)


def adapt(run: AdaptationFolder, plan: AdaptationPlan, callbacks: Callbacks) -> None:
    """The adapted base: head and body trained on."""

    def build(target: Path) -> None:
        model = MaskedModel.load(run.parent)
        course = Course(plan.of_body(), plan.hardware, plan.seed, run.checkpoints, run.progress_file)
        run.write(run.body_file, learn(course, model, run.rows(TRAIN), plan.adaptation.mask_share, callbacks))
        model.save(target)

    build_once(run.model, build)


def probe(run: AdaptationFolder, plan: AdaptationPlan, name: str, base: Path, callbacks: Callbacks) -> None:
    """A classifier made of one of the bases by a short training, as the stream trains its own."""

    def build(target: Path) -> None:
        work = run.probe_run(name)
        work.write_rows("train", run.probe_rows())
        for nothing in ("calibration", "validation"):
            work.write_rows(nothing, [])
        work.write(work.setup_file, JobSetup(start_folders=(base,), threads=run.setup().threads))
        its_plan = plan.of_probe(model_digest(base))
        work.write(work.plan_file, its_plan)
        classifier = train(work, its_plan, callbacks).classifier
        refuse_diverged(curve(ProgressReader(work.progress_file).news()))
        prove(classifier, plan.labels)
        classifier.save(target)

    build_once(run.probed(name), build)


def measured(folder: Path, run: AdaptationFolder, plan: AdaptationPlan) -> MaskedLosses:
    """What a base loses on validation rows."""
    texts = [row.text for row in run.rows(VALIDATION)]
    model = MaskedModel.load(folder, device=this_device(plan))
    return masked_losses(model, texts, mask_share=plan.adaptation.mask_share, max_tokens=plan.training.max_tokens)


@dataclass(frozen=True)
class Part:
    """Something to be made, and the checkpoints that nobody needs once it is."""

    make: Callable[[], None]
    checkpoints: Path


def parts(run: AdaptationFolder, plan: AdaptationPlan, callbacks: Callbacks) -> list[Part]:
    """Everything that is to be made, in order."""

    def probe_of(name: str, base: Path) -> Part:
        return Part(lambda: probe(run, plan, name, base, callbacks), run.probe_run(name).checkpoints)

    return [
        Part(lambda: make_parent(run, plan, callbacks), run.head_checkpoints),
        Part(lambda: adapt(run, plan, callbacks), run.checkpoints),
        probe_of(PROBE_PARENT, run.parent),
        probe_of(PROBE_ADAPTED, run.model),
    ]
