"""The training process: `python -m services.retrainer.job RUN_FOLDER PARENT_PID`.

It knows the run folder alone: neither Kafka nor MLflow nor the settings. First it looks at the labels, and learns
nothing from a window that it distrusts. The result is written last, so its presence says that the model is whole. It
may be killed at any moment; the next one goes on from the last complete checkpoint.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers import TrainerCallback

from services.retrainer.alone import alone_in
from services.retrainer.callbacks import ParentWatch
from services.retrainer.environment import describe
from services.retrainer.finishing import finish
from services.retrainer.label_look import look_at_labels, looks
from services.retrainer.plan import Plan
from services.retrainer.plots import draw_loss
from services.retrainer.progress import ProgressReader, curve
from services.retrainer.runs import JobSetup, RunFolder
from services.retrainer.training import train, use_one_device
from shared.classifier.quiet import quietly
from shared.classifier.threads import use_threads
from shared.errors import TidemillError
from shared.processes import die_with_parent

TORCHRUN = "torch.distributed.run"


def main(arguments: Sequence[str]) -> None:
    """Runs one job; errors of ours end it with one line and exit code 1."""
    run, parent_pid = RunFolder(Path(arguments[0])), int(arguments[1])
    die_with_parent(parent_pid)
    plan = run.plan()
    if plan is None:
        sys.exit(f"{run.plan_file}: no plan there")
    try:
        if not is_worker() and is_distrusted(run, plan):
            return
        if plan.training.processes > 1 and not is_worker():
            become_torchrun(run, plan.training.processes)
        do_locked(run, plan, [ParentWatch(parent_pid)])
    except TidemillError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def is_worker() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def is_distrusted(run: RunFolder, plan: Plan) -> bool:
    """Whether the window's labels must not be learned; the run folder says why."""
    if not looks(plan):
        return False
    prepare_process(run.setup(), only_device(plan))
    return look_at_labels(run, plan).distrust is not None


def become_torchrun(run: RunFolder, processes: int) -> None:
    """Replaces this process, which becomes the workers' parent; what the kernel was told about its own stays true."""
    workers = ["-m", "services.retrainer.job", str(run.path), str(os.getpid())]
    options = ["--standalone", "--nproc-per-node", str(processes)]
    os.environ["PYTHONSAFEPATH"] = "1"
    os.execv(sys.executable, [sys.executable, "-m", TORCHRUN, *options, *workers])


def do_locked(run: RunFolder, plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> None:
    """Does the job while nobody else can. With several processes the first one holds the lock for all.

    Raises:
        TrainingError: Another process holds the run folder.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        do(run, plan, callbacks)
        return
    with alone_in(run):
        do(run, plan, callbacks)


def do(run: RunFolder, plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> None:
    """Trains, finishes, and writes the result last."""
    prepare_process(run.setup(), only_device(plan))
    with quietly():
        trained = train(run, plan, callbacks)
    if not trained.is_main_process:
        return
    points = curve(ProgressReader(run.progress_file).news())
    result = finish(run, plan, trained, points)
    draw_loss(points, f"{plan.window_id}: {plan.new_rows} new rows, {plan.replay_rows} replayed", run.plots)
    run.write(run.environment_file, describe(plan.hardware.device))
    run.write(run.result_file, result)


def prepare_process(setup: JobSetup, device: str | None) -> None:
    """What must be set before the first model is made. Args: device: the only one to be used; None: not to be said."""
    if setup.threads is not None:
        use_threads(setup.threads)
    if device is not None:
        use_one_device(device)


def only_device(plan: Plan) -> str | None:
    """The device of a training in one process; of several, each takes its own."""
    return plan.hardware.device if plan.training.processes == 1 else None


if __name__ == "__main__":
    main(sys.argv[1:])
