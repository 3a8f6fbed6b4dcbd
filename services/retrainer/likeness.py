"""How far two trainings of one plan came out alike, and what differed in their circumstances."""

from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt

from services.retrainer.environment import Environment
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.digest import MLFLOW_FILES

WEIGHT_SUFFIX = ".safetensors"
FIELDS = ("python", "platform", "cpus", "cpu_model", "threads", "device", "device_name")


class Part(BaseModel):
    """What the two have in common: frozen, nothing unknown, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Difference(Part):
    """One circumstance that was another; null: not there."""

    what: str
    then: str | None
    now: str | None


class Likeness(Part):
    """Two models beside each other."""

    weights_identical: bool
    differing_files: tuple[str, ...]
    rows: NonNegativeInt
    largest_difference: float
    """Of any class's probability, over all rows."""
    answers_changed: NonNegativeInt


def compare(then: Path, now: Path, texts: Sequence[str]) -> Likeness:
    """Compares two models' files and their answers to the same texts.

    Raises: ModelError if one of them cannot be loaded.
    """
    files = differing_files(then, now)
    answers = [AnsweringClassifier.load(folder).predict(texts) for folder in (then, now)]
    gaps = np.abs(answers[0].probabilities - answers[1].probabilities)
    return Likeness(
        weights_identical=not any(name.endswith(WEIGHT_SUFFIX) for name in files),
        differing_files=files,
        rows=len(texts),
        largest_difference=float(gaps.max(initial=0.0)),
        answers_changed=int(np.sum(answers[0].predicted != answers[1].predicted)),
    )


def differing_files(then: Path, now: Path) -> tuple[str, ...]:
    """Names of files that are not the same on both sides; MLflow's own notes do not count."""
    before, after = _digests(then), _digests(now)
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _digests(folder: Path) -> dict[str, str]:
    named = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: _sha256(path) for name, path in named.items() if name not in MLFLOW_FILES}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def environment_differences(then: Environment, now: Environment) -> tuple[Difference, ...]:
    """What differs between two environments, package by package."""
    plain = {name: (str(getattr(then, name)), str(getattr(now, name))) for name in FIELDS}
    lost, gained = set(then.cpu_flags) - set(now.cpu_flags), set(now.cpu_flags) - set(then.cpu_flags)
    plain["cpu_flags"] = (" ".join(sorted(lost)), " ".join(sorted(gained)))
    fields = (Difference(what=name, then=a or None, now=b or None) for name, (a, b) in plain.items() if a != b)
    return (*fields, *package_differences(then.packages, now.packages))


def package_differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[Difference, ...]:
    """Packages of which another version, or none, was installed."""
    names = sorted(then.keys() | now.keys(), key=str.casefold)
    changed = (name for name in names if then.get(name) != now.get(name))
    return tuple(Difference(what=f"package {name}", then=then.get(name), now=now.get(name)) for name in changed)
