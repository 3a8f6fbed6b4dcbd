"""Asks two bases, and the classifiers made of them: imports torch, so it runs in a process of its own.

All four came with the candidate, so that what is wrong with any of them makes it unusable.
"""

import shutil
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from services.evaluator.bases.exam import BaseExam
from services.evaluator.bases.gate import BoolArray, Comparison
from services.evaluator.bases.guesses import Guesses
from services.evaluator.exam import Failure, Misconfigured, Unavailable, Unusable
from services.evaluator.model_files import ModelFiles
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.digest import verify
from shared.classifier.folders import build_once
from shared.classifier.masked import MaskedModel, masked_losses
from shared.classifier.precision import choose_device
from shared.classifier.probe import prove
from shared.errors import ConfigurationError, ModelError, RegistryRefusedError, RetryableError
from shared.exam import EXAM_FOLDER, PARENT, PROBE_ADAPTED, PROBE_PARENT
from shared.mlflow_calls import MissingError
from shared.registry import Registry
from shared.settings import Settings

log = structlog.get_logger("scorer")


def examine(exam: BaseExam, settings: Settings, registry: Registry) -> Comparison | Failure:
    """Loads and asks all four; never raises what a caller could decide about.

    Files go to HOME/evaluator/bases/STREAM, and stay only where the same exam will be tried again.
    """
    home = settings.home.resolve() / "evaluator" / "bases" / settings.stream.folder
    found = _examined(_Examiner(exam, settings, registry, home))
    if not isinstance(found, Unavailable):
        shutil.rmtree(home, ignore_errors=True)
    return found


def _examined(examiner: "_Examiner") -> Comparison | Failure:
    try:
        return examiner.compare()
    except ModelError as error:
        return Unusable(str(error))
    except ConfigurationError as error:
        return Misconfigured(str(error))
    except (RetryableError, RegistryRefusedError, OSError) as error:
        return Unavailable(str(error))


class _Examiner:
    def __init__(self, exam: BaseExam, settings: Settings, registry: Registry, home: Path) -> None:
        self._exam, self._settings, self._registry, self._home = exam, settings, registry, home
        self._device = choose_device(settings.model.device)

    def compare(self) -> Comparison:
        adapted = ModelFiles(self._settings, self._registry, self._home / "models").folder(self._exam.base)
        exam = self._exam_files()
        guesses = self._guesses(exam / PARENT, adapted)
        log.info("guessed", version=self._exam.base.version, reviews=guesses.rows, guesses=guesses.total)
        before, after = (self._right(exam / name) for name in (PROBE_PARENT, PROBE_ADAPTED))
        return Comparison(guesses, before, after)

    def _exam_files(self) -> Path:
        """The verified folder that came with the base."""
        exam = self._exam
        target = build_once(self._home / f"exam-{exam.exam_digest[:16]}", self._fetch)
        try:
            verify(target / EXAM_FOLDER, exam.exam_digest)
        except ModelError:
            shutil.rmtree(target, ignore_errors=True)  # the next attempt downloads it again
            raise
        return target / EXAM_FOLDER

    def _fetch(self, workplace: Path) -> None:
        try:
            self._registry.fetch(self._exam.run_id, EXAM_FOLDER, workplace)
        except MissingError as error:
            raise ModelError(f"run {self._exam.run_id} has no folder {EXAM_FOLDER}: {error}") from error

    def _guesses(self, parent: Path, adapted: Path) -> Guesses:
        before, after = (MaskedModel.load(folder, self._device) for folder in (parent, adapted))
        if before.tokenizer.get_vocab() != after.tokenizer.get_vocab():
            raise ModelError("the adapted base and its parent have different words, so that no guess compares")
        lost = [
            masked_losses(
                model,
                self._exam.texts,
                mask_share=self._settings.adaptation.mask_share,
                max_tokens=self._settings.training.max_tokens,
            )
            for model in (before, after)
        ]
        if not np.array_equal(lost[0].guesses, lost[1].guesses):
            raise ModelError("the adapted base and its parent were asked to guess different words")
        return Guesses(lost[0].nats, lost[1].nats, lost[0].guesses)

    def _right(self, folder: Path) -> BoolArray:
        """(m,) whether a classifier is right on each labelled row."""
        settings, labels = self._settings, self._settings.stream.labels
        probe = AnsweringClassifier.load(folder, self._device, max_tokens=settings.model.max_tokens)
        prove(probe, labels)
        truth: NDArray[np.int64] = np.array([row.label for row in self._exam.rows], np.int64)
        if not len(truth):
            return np.zeros(0, np.bool_)
        return np.asarray(probe.predict([row.text for row in self._exam.rows]).predicted == truth, np.bool_)
