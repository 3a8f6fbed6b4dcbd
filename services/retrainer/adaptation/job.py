"""The adaptation's process: `python -m services.retrainer.adaptation.job RUN_FOLDER PARENT_PID`.

Like the training of a classifier it knows the run folder alone, and its result is written last. It may be killed at any
moment: the next one goes on with the first part that is missing, within a training from the last complete checkpoint,
and ends with the same files.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from transformers import TrainerCallback

from services.retrainer.adaptation.folder import VALIDATION, AdaptationFolder, AdaptationResult
from services.retrainer.adaptation.parts import measured, parts
from services.retrainer.adaptation.picture import draw_adaptation
from services.retrainer.adaptation.plan import AdaptationPlan
from services.retrainer.alone import alone_in
from services.retrainer.callbacks import ParentWatch
from services.retrainer.environment import describe
from services.retrainer.job import prepare_process
from services.retrainer.progress import ProgressReader, curve
from shared.classifier.digest import model_digest
from shared.classifier.masked import MaskedLosses
from shared.classifier.quiet import quietly
from shared.errors import TidemillError
from shared.events import AdaptationMetrics
from shared.processes import die_with_parent


def main(arguments: Sequence[str]) -> None:
    """Runs one job; errors of ours end it with one line and exit code 1."""
    run, parent_pid = AdaptationFolder(Path(arguments[0])), int(arguments[1])
    die_with_parent(parent_pid)
    plan = run.plan()
    if plan is None:
        sys.exit(f"{run.plan_file}: no plan there")
    try:
        do_locked(run, plan, [ParentWatch(parent_pid)])
    except TidemillError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def do_locked(run: AdaptationFolder, plan: AdaptationPlan, callbacks: Sequence[TrainerCallback] = ()) -> None:
    """Does the job while nobody else can.

    Raises:
        TrainingError: Another process holds the run folder.
    """
    with alone_in(run):
        do(run, plan, callbacks)


def do(run: AdaptationFolder, plan: AdaptationPlan, callbacks: Sequence[TrainerCallback] = ()) -> None:
    """Makes all parts, measures, and writes the result last."""
    began = time.monotonic()
    prepare_process(run.setup(), plan.hardware.device)
    run.clear_unfinished()
    with quietly():
        for part in parts(run, plan, callbacks):
            part.make()
            shutil.rmtree(part.checkpoints, ignore_errors=True)
        before, after = measured(run.parent, run, plan), measured(run.model, run, plan)
    result = result_of(run, before, after, time.monotonic() - began)
    draw_adaptation(run, plan, curve(ProgressReader(run.progress_file).news()), result)
    run.write(run.environment_file, describe(plan.hardware.device))
    run.write(run.result_file, result)


def result_of(run: AdaptationFolder, before: MaskedLosses, after: MaskedLosses, seconds: float) -> AdaptationResult:
    """The job's numbers. Seconds are the last attempt's, all else the whole adaptation's."""
    head, body = run.learned(run.head_file), run.learned(run.body_file)
    guesses = int(before.guesses.sum())
    return AdaptationResult(
        model_digest=model_digest(run.model),
        exam_digest=model_digest(run.exam),
        metrics=AdaptationMetrics(
            steps=body.steps,
            tokens_seen=body.tokens_seen,
            loss_before=before.mean if guesses else None,
            loss_after=after.mean if guesses else None,
            seconds=seconds,
        ),
        head_steps=head.steps,
        validation_rows=len(run.rows(VALIDATION)),
        guesses=guesses,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
