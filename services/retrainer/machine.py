"""What this machine trains with: asked of a child process, so that the service itself never loads torch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.retrainer.plan import Hardware
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.errors import ConfigurationError, TidemillError, TrainingError
from shared.processes import die_with_parent
from shared.settings import Settings

MODULE = "services.retrainer.machine"
MISCONFIGURED = 2


class Question(BaseModel):
    """What the child is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    base: str
    base_revision: str | None
    cache: Path
    device: str
    precision: Literal["auto", "fp32", "bf16"]


class Machine(BaseModel):
    """What the child found."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    base_folder: Path
    base_digest: str
    hardware: Hardware


def examine(settings: Settings) -> Machine:
    """Opens the base model, converting or fetching it the first time, and chooses device and precision.

    Raises:
        ConfigurationError: A setting asks for what is not there.
        TrainingError: The child broke down.
    """
    question = Question(
        base=settings.model.base,
        base_revision=settings.model.base_revision,
        cache=settings.cache_folder,
        device=settings.model.device,
        precision=settings.training.precision,
    )
    command = [sys.executable, "-P", "-m", MODULE, str(os.getpid())]
    child = subprocess.run(command, input=question.model_dump_json(), capture_output=True, text=True, check=False)
    if child.returncode == 0:
        return Machine.model_validate_json(child.stdout.splitlines()[-1])
    reason = (child.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
    kind = ConfigurationError if child.returncode == MISCONFIGURED else TrainingError
    raise kind(f"preparing to train: {reason}")


def answer(question: Question) -> Machine:
    """The child's part."""
    from shared.classifier.precision import choose_device, choose_precision

    folder = open_base(question.base, question.cache, question.base_revision)
    device = choose_device(question.device)
    hardware = Hardware(device=device, precision=choose_precision(question.precision, device))
    return Machine(base_folder=folder, base_digest=model_digest(folder), hardware=hardware)


def main() -> None:
    """Reads the question from standard input and writes the answer as the last line of standard output."""
    die_with_parent(int(sys.argv[1]))
    try:
        print(answer(Question.model_validate_json(sys.stdin.read())).model_dump_json())
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(MISCONFIGURED)
    except TidemillError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
