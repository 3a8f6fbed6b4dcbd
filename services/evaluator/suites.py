"""Pairs the models' answers row by row, suite by suite, and asks gate and quarantine.

A suite is a named set of rows: `fresh` (the candidate's own hold-out, to report) and `pool` (what decides).
"""

from dataclasses import dataclass

import numpy as np

from services.evaluator.comparison import Flips, count_flips
from services.evaluator.exam import BASELINE, CHALLENGER, CHAMPION, BoolArray, Exam, Measured
from services.evaluator.gate import Challenge, Ruling, decide
from services.evaluator.quarantine import QuarantineVerdict, Tally, quarantine_verdict
from shared.settings import GateSettings

FRESH, POOL = "fresh", "pool"


@dataclass(frozen=True, slots=True)
class Weighed:
    """What gate and quarantine say about one candidate."""

    ruling: Ruling
    quarantine: QuarantineVerdict


def suites(exam: Exam) -> dict[str, BoolArray]:
    """Suite -> (n,) whether each row of the exam belongs to it."""
    return {FRESH: exam.fresh, POOL: np.ones(len(exam.rows), np.bool_)}


def weigh(exam: Exam, measured: Measured, settings: GateSettings) -> Weighed:
    """The window's verdict first: a distrusted window's rows leave the pool before the gate looks at it."""
    quarantine = _distrust(exam, measured, settings)
    opponent = BASELINE if exam.champion is None else CHAMPION
    deciding = ~exam.own if quarantine.quarantine else np.ones(len(exam.rows), np.bool_)
    challenge = Challenge(
        probe=measured.probe,
        flips=_flips(measured, opponent, deciding),
        metrics=_metrics(measured),
        against_baseline=exam.champion is None,
    )
    return Weighed(decide(challenge, settings), quarantine)


def _distrust(exam: Exam, measured: Measured, settings: GateSettings) -> QuarantineVerdict:
    if exam.champion is None:
        return quarantine_verdict(Flips(), None, None, settings.quarantine)
    right, here = measured.right[CHAMPION], exam.own
    # What else the candidate learned from is neither this window nor a witness about it.
    elsewhere = ~exam.fresh
    return quarantine_verdict(
        _flips(measured, CHAMPION, elsewhere), _tally(right[here]), _tally(right[elsewhere]), settings.quarantine
    )


def _flips(measured: Measured, opponent: str, rows: BoolArray) -> Flips:
    return count_flips(measured.right[opponent][rows], measured.right[CHALLENGER][rows])


def _tally(right: BoolArray) -> Tally:
    return Tally(int(right.sum()), right.size)


def _metrics(measured: Measured) -> dict[str, float]:
    """The challenger's on the pool; empty, so incomplete, where they could not be computed."""
    found = (score.metrics for score in measured.scores if (score.model, score.rows_name) == (CHALLENGER, POOL))
    return next(found, {})
