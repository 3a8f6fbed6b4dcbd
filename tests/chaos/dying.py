"""A retrainer that ends by SIGKILL at a chosen step, once: `python -m tests.chaos.dying`; its job runs `dying_job`.

The steps are named by `STEPS`; the environment says which one, and which file marks that it was reached. Started again
with the same environment, it goes on as the service does.
"""

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP, MARK = "DYING_STEP", "DYING_MARK"
SERVICE, JOB = "service", "job"


@dataclass(frozen=True)
class Step:
    """Before or after which call who dies.

    Attributes:
        process: Who makes the call.
        owner: Module or module.Class that holds it.
        alone: The job dies, and its service lives; else the job takes the service along, as a power cut does.
    """

    process: str
    owner: str
    call: str
    after: bool
    alone: bool = False


_APP, _REGISTRY = "services.retrainer.app", "shared.registry.Registry"
_REGISTRATION = "services.retrainer.registration.Registration"
LOOK = {
    "before the look": Step(SERVICE, f"{_APP}.LocalWorkshop", "launch", after=False),
    "in the look": Step(JOB, "services.retrainer.label_look", "judged", after=False),
    "in the look, the job alone": Step(JOB, "services.retrainer.label_look", "judged", after=True, alone=True),
    "after quality.json": Step(JOB, "services.retrainer.job", "look_at_labels", after=True),
    "the run of the look made": Step(SERVICE, _REGISTRY, "run_of_window", after=True),
    "the look half recorded": Step(SERVICE, _REGISTRY, "log_file", after=True),
    "the look recorded": Step(SERVICE, _REGISTRATION, "record_look", after=True),
    "before publishing": Step(SERVICE, f"{_APP}.Retrainer", "_publish", after=False),
    "after publishing": Step(SERVICE, f"{_APP}.Retrainer", "_publish", after=True),
}
REBUILD = {
    "the order read": Step(SERVICE, _APP, "rebuild_of", after=True),
    "planned": Step(SERVICE, "services.retrainer.preparation.Preparation", "prepare_rebuild", after=True),
    "training": Step(JOB, "services.retrainer.callbacks", "mark_complete", after=True),
    "training, the job alone": Step(JOB, "services.retrainer.callbacks", "mark_complete", after=True, alone=True),
    "trained": Step(SERVICE, _REGISTRATION, "register", after=False),
    "uploaded": Step(SERVICE, _REGISTRY, "upload_model", after=True),
    "registered": Step(SERVICE, _REGISTRY, "register", after=True),
    "before publishing": LOOK["before publishing"],
    "after publishing": LOOK["after publishing"],
}
STEPS = {f"look: {name}": step for name, step in LOOK.items()} | {f"rebuild: {name}": s for name, s in REBUILD.items()}


def arm(process: str, service_pid: int | None = None) -> None:
    """Makes this process die at the step that the environment names, if that is one of its own."""
    step = STEPS[os.environ[STEP]]
    if step.process == process:
        owner = _found(step.owner)
        setattr(owner, step.call, _dying(getattr(owner, step.call), step, service_pid))


def _found(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, owner = name.rpartition(".")
        return getattr(importlib.import_module(module), owner)


def _dying(real: Callable[..., Any], step: Step, service_pid: int | None) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        found = real(*args, **more) if step.after else None
        _die_once(None if step.alone else service_pid)
        return found if step.after else real(*args, **more)

    return call


def _die_once(service_pid: int | None) -> None:
    mark = Path(os.environ[MARK])
    if mark.exists():
        return
    mark.touch()
    if service_pid is not None:
        os.kill(service_pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Runs the service."""
    from services.retrainer import app, launcher

    launcher.JOB = "tests.chaos.dying_job"
    arm(SERVICE)
    app.main()


if __name__ == "__main__":
    main()
