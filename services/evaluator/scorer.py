"""Asks the models: the only part of the evaluator that loads torch, so it runs in a process of its own.

The challenger must prove itself first; what is wrong with it makes it unusable, what is wrong with anything else says
nothing about it.
"""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from services.evaluator.answers import AnswerCache, Probabilities
from services.evaluator.exam import (
    ANCHOR,
    BASELINE,
    CHALLENGER,
    CHAMPION,
    BoolArray,
    Contender,
    Exam,
    Exhibit,
    Measured,
    Misconfigured,
    Model,
    Result,
    Unavailable,
    Unusable,
)
from services.evaluator.flipped import flipped_rows
from services.evaluator.gate import ProbeResult
from services.evaluator.guards import brier_losses
from services.evaluator.metrics import score_all, score_labels
from services.evaluator.model_files import ModelFiles
from services.evaluator.pool import HeldOutRow
from services.evaluator.report import draw_all
from services.evaluator.slices import slices_of
from services.evaluator.stopwatch import time_by_turns
from services.evaluator.suites import FRESH, POOL, suites
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.baseline import MAJORITY, VADER, open_baseline
from shared.classifier.digest import model_digest
from shared.classifier.layout import weights_bytes
from shared.classifier.predictor import Predictor
from shared.classifier.probe import KNOWN_QUESTIONS, prove
from shared.errors import ConfigurationError, DeviceLostError, ModelError, RegistryRefusedError, RetryableError
from shared.events import Score
from shared.registry import Registry
from shared.settings import Settings

log = structlog.get_logger("scorer")

# Answers are kept after each chunk: a process that dies is asked only for the rest.
CHUNK_ROWS = 256
KEPT_MODELS = 8
KEPT_POOLS = 3
# Enough to tell a model twice as slow, few enough to cost seconds.
TIMED_TEXTS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One model's answers.

    Attributes:
        probabilities: (n, k), NaN where it was not asked.
        rows: (n,) whether it was asked.
        has_scores: Whether the probabilities mean anything.
        new: Rows that were not known from before.
    """

    probabilities: Probabilities
    rows: BoolArray
    has_scores: bool
    new: int

    @property
    def chosen(self) -> NDArray[np.int64]:
        """(n,) label ids; of rows that were not asked, any."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


def examine(exam: Exam, settings: Settings, registry: Registry) -> Result:
    """Loads, proves and asks all models; never raises what a caller could decide about.

    Files go to HOME/evaluator: the models of this exam, the answers cache, the pictures by window.
    """
    try:
        return _Examiner(settings, registry, exam).measure()
    except _ChallengerError as error:
        return Unusable(str(error))
    except ConfigurationError as error:
        return Misconfigured(str(error))
    except (RetryableError, RegistryRefusedError, DeviceLostError, OSError, sqlite3.Error) as error:
        return Unavailable(str(error))
    except ModelError as error:
        return Unavailable(f"the challenger has nothing to be compared with: {error}")


class _ChallengerError(Exception):
    """The challenger's own files or answers are at fault."""


class _Examiner:
    def __init__(self, settings: Settings, registry: Registry, exam: Exam) -> None:
        self._settings, self._exam = settings, exam
        self._home = settings.home.resolve() / "evaluator"
        self._files = ModelFiles(settings, registry, self._home / "models")
        gate = settings.evaluator.gate
        kept = KEPT_POOLS * gate.pool_rows + gate.anchor_rows + gate.eras.rows * gate.eras.keep
        self._cache = AnswerCache(self._home / "answers.sqlite", KEPT_MODELS, kept)
        self._truth = np.array([row.label for row in exam.rows], np.int64)

    def measure(self) -> Measured:
        exam = self._exam
        self._files.keep_only(exam.models)
        challenger = self._proven_challenger()
        asked = {
            CHALLENGER: self._asked_model(exam.challenger.model, lambda: challenger, exam.asked_of(exam.challenger))
        }
        unusable = self._ask_waiting(asked)
        if exam.champion is not None:
            asked[CHAMPION] = self._asked_model(exam.champion, None, exam.everywhere)
        if exam.anchor is not None:
            asked[ANCHOR] = self._asked_model(exam.anchor, None, exam.everywhere)
        asked[BASELINE] = self._asked_baseline()
        contenders = [contender for contender in exam.contenders if contender.role in asked]
        right = {role: (answers.chosen == self._truth) & answers.rows for role, answers in asked.items()}
        scores = {contender.role: self._scores(asked, contender) for contender in contenders}
        return Measured(
            probe=ProbeResult(loaded=True, asked=len(KNOWN_QUESTIONS), answered=len(KNOWN_QUESTIONS)),
            right=right,
            answered={role: answers.rows for role, answers in asked.items()},
            scores=scores,
            new_answers=sum(answers.new for answers in asked.values()),
            exhibits=self._exhibits(asked, right, scores),
            unusable=unusable,
            slices=slices_of(exam.rows, self._settings.stream.labels, self._settings.evaluator.gate.slices),
            losses={
                role: brier_losses(answers.probabilities, self._truth)
                for role, answers in asked.items()
                if answers.has_scores
            },
            sizes=self._sizes(contenders),
            latencies=self._latencies(contenders, challenger),
        )

    def _ask_waiting(self, asked: dict[str, Asked]) -> dict[str, str]:
        """Adds the answers of those that wait; says why of those that cannot be asked any more."""
        unusable: dict[str, str] = {}
        for contender in self._exam.waiting:
            try:
                asked[contender.role] = self._asked_model(contender.model, None, self._exam.asked_of(contender))
            except ModelError as error:
                log.warning("waiting_is_unusable", version=contender.model.version, error=str(error))
                unusable[contender.role] = str(error)
        return unusable

    # Models

    def _sizes(self, contenders: Sequence[Contender]) -> dict[str, int]:
        """Bytes of the weights of contenders and champion."""
        if self._exam.champion is None:
            return {}
        models = {contender.role: contender.model for contender in contenders} | {CHAMPION: self._exam.champion}
        return {role: weights_bytes(self._files.folder(model)) for role, model in models.items()}

    def _latencies(self, contenders: Sequence[Contender], challenger: AnsweringClassifier) -> dict[str, float]:
        """Each contender's time for the same texts beside the champion's, if a term of the gate asks."""
        terms = {term.kind for term in self._settings.evaluator.gate.terms}
        if self._exam.champion is None or "latency" not in terms or not self._exam.rows:
            return {}
        texts = [row.text for row in self._exam.rows[-TIMED_TEXTS:]]
        champion = self._files.load(self._exam.champion)
        found: dict[str, float] = {}
        for contender in contenders:
            model = challenger if contender.role == CHALLENGER else self._files.load(contender.model)
            mine, champions = time_by_turns(model, champion, texts)
            found[contender.role] = mine / champions
        return found

    def _proven_challenger(self) -> AnsweringClassifier:
        try:
            classifier = self._files.load(self._exam.challenger.model)
            prove(classifier, self._settings.stream.labels)
        except ModelError as error:
            raise _ChallengerError(str(error)) from error
        return classifier

    # Answers

    def _asked_model(self, model: Model, load: Callable[[], Predictor] | None, rows: BoolArray) -> Asked:
        key = f"{model.digest}:{self._settings.model.max_tokens}"
        return self._asked(key, load or (lambda: self._files.load(model)), rows)

    def _asked_baseline(self) -> Asked:
        name = self._settings.evaluator.gate.baseline
        baseline = open_baseline(
            name, self._settings.stream.labels, self._exam.label_counts, self._settings.cache_folder
        )
        everywhere = self._exam.everywhere
        if name in (VADER, MAJORITY):
            # Cheaper to ask than to look up; and a majority changes with the counts.
            return Asked(_predict(baseline, self._exam.rows), everywhere, baseline.has_scores, 0)
        key = model_digest(Path(name)) if Path(name).is_dir() else name
        return self._asked(f"baseline {key}:{','.join(self._settings.stream.labels)}", lambda: baseline, everywhere)

    def _asked(self, key: str, load: Callable[[], Predictor], mask: BoolArray) -> Asked:
        """A model's answers to the rows of the mask; it is loaded only if one is missing."""
        rows = [row for row, wanted in zip(self._exam.rows, mask, strict=True) if wanted]
        known = self._cache.get(key, [row.key for row in rows])
        missing = [row for row in rows if row.key not in known]
        if missing:
            model = load()
            # Long texts together: one long text makes its whole batch long.
            missing.sort(key=lambda row: len(row.text))
            for start in range(0, len(missing), CHUNK_ROWS):
                chunk = missing[start : start + CHUNK_ROWS]
                answers = dict(zip((row.key for row in chunk), _predict(model, chunk), strict=True))
                self._cache.put(key, answers)
                known |= answers
            log.info("scored", model=key[:12], rows=len(missing))
        return Asked(self._in_order(known, mask), mask, True, len(missing))

    def _in_order(self, known: dict[str, Probabilities], mask: BoolArray) -> Probabilities:
        """(n, k), NaN where the model was not asked."""
        table = np.full((len(self._exam.rows), len(self._settings.stream.labels)), np.nan, np.float32)
        for place in np.flatnonzero(mask):
            table[place] = known[self._exam.rows[place].key]
        return table

    # Measures

    def _scores(self, asked: dict[str, Asked], contender: Contender) -> tuple[Score, ...]:
        """Metrics of the contender and of all that it is compared with, on its rows."""
        return tuple(
            Score(model=model, rows_name=name, rows=int(rows.sum()), metrics=_metrics(asked[role], rows, self._truth))
            for name, rows in suites(self._exam, contender).items()
            for model, role in _roles(asked, contender).items()
        )

    def _exhibits(
        self, asked: dict[str, Asked], right: dict[str, BoolArray], scores: dict[str, tuple[Score, ...]]
    ) -> dict[str, Exhibit]:
        """None rather than no decision: they are for people only."""
        shutil.rmtree(self._home / "pictures", ignore_errors=True)
        found: dict[str, Exhibit] = {}
        for contender in self._exam.contenders:
            try:
                if contender.role in asked and contender.rows.any():
                    found[contender.role] = self._exhibit(asked, right, scores[contender.role], contender)
            except Exception:
                log.exception("no_pictures", window_id=self._exam.window_id, role=contender.role)
        return found

    def _exhibit(
        self, asked: dict[str, Asked], right: dict[str, BoolArray], scores: tuple[Score, ...], contender: Contender
    ) -> Exhibit:
        rows, labels = contender.rows, self._settings.stream.labels
        opponent = CHAMPION if CHAMPION in asked else BASELINE
        roles = _roles(asked, contender)
        # Rows of eras need not be among those that decide; eras have a heat map of their own.
        pictures = draw_all(
            self._home / "pictures" / self._exam.window_id / contender.model.version,
            {name: found[rows] for name, found in suites(self._exam, contender).items() if name in (FRESH, POOL)},
            {model: right[role][rows] for model, role in roles.items()},
            scores,
            {model: asked[role].probabilities[rows] for model, role in roles.items() if asked[role].has_scores},
            self._truth[rows],
            labels,
        )
        return Exhibit(pictures, flipped_rows(self._exam.rows, rows, asked[contender.role], asked[opponent], labels))


def _roles(asked: dict[str, Asked], contender: Contender) -> dict[str, str]:
    """Who is who in one contender's case: it is the challenger there, whatever its role in the exam."""
    return {CHALLENGER: contender.role} | {model: model for model in (CHAMPION, ANCHOR, BASELINE) if model in asked}


def _predict(model: Predictor, rows: Sequence[HeldOutRow]) -> Probabilities:
    return model.predict([row.text for row in rows]).probabilities


def _metrics(answers: Asked, rows: BoolArray, truth: NDArray[np.int64]) -> dict[str, float]:
    """All metrics that the model's answers allow; none where the answers are no probabilities at all."""
    if not rows.any():
        return {}
    probabilities = answers.probabilities[rows]
    try:
        if answers.has_scores:
            return score_all(probabilities, truth[rows])
        return score_labels(probabilities.argmax(axis=1), truth[rows])
    except ValueError as error:
        log.warning("not_measured", error=str(error))
        return {}
