"""Trained models and their answers, named by their content, so that what two policies share is made once."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from services.control.backtest.lesson import Lesson
from shared.classifier.folders import build_once

FACTS, ANSWERS = "facts.json", "answers.npz"
Floats = NDArray[np.float32]
Predict = Callable[[Sequence[str]], Floats]


class Learner(Protocol):
    """Turns lessons into models."""

    @property
    def name(self) -> str:
        """Another name for another way of learning: models of one name may stand in for each other."""

    def train(self, lesson: Lesson, parents: Sequence[Path], folder: Path) -> None:
        """Writes a model into the folder, which exists; it starts from the average of its parents, if it has any."""

    def predict(self, folder: Path, texts: Sequence[str]) -> Floats:
        """Probabilities, shape (n, k), in the order of the texts."""


@dataclass(frozen=True)
class Trained:
    """A model in the store. `seconds` is what its training took, whenever that was."""

    key: str
    seconds: float
    from_cache: bool


class Store:
    """One folder of models. Several processes may use it at once: who wants what another one makes waits for it."""

    def __init__(self, root: Path, learner: Learner) -> None:
        self._root, self._learner = root.resolve() / learner.name, learner
        self._root.mkdir(parents=True, exist_ok=True)
        self._seen: defaultdict[str, dict[str, Floats]] = defaultdict(dict)

    def trained(self, lesson: Lesson, parents: Sequence[str]) -> Trained:
        """The model of this lesson from these parents, trained now unless it is there."""
        key = lesson.content(parents)
        with self._alone(key):
            there = self._folder(key).is_dir()
            build_once(self._folder(key), lambda folder: self._train(lesson, parents, folder))
        facts = json.loads((self._folder(key) / FACTS).read_text())
        return Trained(key, facts["seconds"], there)

    def answers(self, key: str, texts: Sequence[str], predict: Predict | None = None) -> Floats:
        """A model's probabilities for the texts, (n, k); only those that it was never asked are computed.

        Args: predict: of a model that is no trained one, e.g. the baseline; its key must be its own.
        """
        names = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        missing = {name: text for name, text in zip(names, texts, strict=True) if name not in self._seen[key]}
        if missing:
            ask = predict or (lambda asked: self._learner.predict(self._folder(key), asked))
            self._ask(key, missing, ask)
        return np.array([self._seen[key][name] for name in names], np.float32)

    def _ask(self, key: str, missing: dict[str, str], ask: Predict) -> None:
        with self._alone(key):
            self._folder(key).mkdir(exist_ok=True)
            known = self._known(key)
            new = {name: text for name, text in missing.items() if name not in known}
            if new:
                known |= dict(zip(new, ask(list(new.values())), strict=True))
                self._keep(key, known)
            self._seen[key] = known

    def _train(self, lesson: Lesson, parents: Sequence[str], folder: Path) -> None:
        began = time.perf_counter()
        self._learner.train(lesson, [self._folder(parent) for parent in parents], folder)
        (folder / FACTS).write_text(json.dumps({"seconds": time.perf_counter() - began}))

    def _folder(self, key: str) -> Path:
        return self._root / key

    def _alone(self, key: str) -> FileLock:
        return FileLock(self._root / f"{key}.lock")

    def _known(self, key: str) -> dict[str, Floats]:
        file = self._folder(key) / ANSWERS
        if not file.exists():
            return {}
        with np.load(file, allow_pickle=False) as stored:
            return dict(zip(map(bytes.decode, stored["names"]), stored["probabilities"], strict=True))

    def _keep(self, key: str, known: dict[str, Floats]) -> None:
        file = self._folder(key) / ANSWERS
        draft = file.with_name(f".{ANSWERS}")
        np.savez(draft, names=np.array(list(known), np.bytes_), probabilities=np.array(list(known.values())))
        draft.replace(file)
