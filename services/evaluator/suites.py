"""Pairs the models' answers row by row, suite by suite, and asks gate, quarantine and anchor.

A suite is a named set of rows: `fresh` (the candidate's own hold-out, to report), `pool` (what decides) and `era A-B`
(frozen rows of past windows, which may veto).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from services.evaluator.comparison import Flips, count_flips, evidence
from services.evaluator.exam import ANCHOR, BASELINE, CHALLENGER, CHAMPION, BoolArray, Contender, Exam, Measured
from services.evaluator.gate import Challenge, ProbeResult, Ruling, decide
from services.evaluator.guards import BrierLosses
from services.evaluator.quarantine import QuarantineVerdict, Tally, quarantine_verdict
from services.evaluator.serving import Serving
from services.evaluator.slices import CLASSES
from shared.settings import GateSettings

FRESH, POOL, ERA = "fresh", "pool", "era"
NOBODY_SERVED: Mapping[str, Serving] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AnchorVerdict:
    """Whether the champion has been proven better than the anchor, so that it becomes the anchor itself."""

    advances: bool = False
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What gate and quarantine say in one sitting; rulings by role, in the order of arrival, the new one last."""

    rulings: dict[str, Ruling]
    quarantine: QuarantineVerdict
    anchor: AnchorVerdict = AnchorVerdict()


def suites(exam: Exam, contender: Contender) -> dict[str, BoolArray]:
    """Suite -> (n,) whether each row of the exam belongs to it, as far as this contender is concerned."""
    eras = {f"{ERA} {name}": rows for name, rows in exam.eras.items()}
    fresh = {FRESH: exam.fresh & contender.rows} if exam.own_windows else {}
    return fresh | {POOL: contender.rows} | eras


def weigh(
    exam: Exam, measured: Measured, settings: GateSettings, serving: Mapping[str, Serving] = NOBODY_SERVED
) -> Weighed:
    """The window's verdict first: a distrusted window's rows speak for nobody when the gate looks.

    Args: serving: Version -> what replicas counted of it beside the champion.
    """
    quarantine = _distrust(exam, measured, settings)
    trusted = ~exam.own if quarantine.quarantine else exam.everywhere
    anchor = _anchor(exam, measured, trusted, settings)
    rulings = {
        contender.role: _ruling(exam, measured, contender, trusted, settings, serving.get(contender.model.version))
        for contender in exam.contenders
    }
    return Weighed(rulings, quarantine, anchor)


def _ruling(
    exam: Exam,
    measured: Measured,
    contender: Contender,
    trusted: BoolArray,
    settings: GateSettings,
    serving: Serving | None,
) -> Ruling:
    if contender.role in measured.unusable:
        reason = measured.unusable[contender.role]
        return decide(Challenge(ProbeResult(loaded=False, detail=f"unusable: {reason}")), settings)
    rows, role = contender.rows & trusted, contender.role
    if exam.champion is None:
        return decide(_against_baseline(measured, role, rows), settings)
    return decide(replace(_against_champion(exam, measured, role, rows), serving=serving), settings)


def _against_baseline(measured: Measured, role: str, rows: BoolArray) -> Challenge:
    return Challenge(
        probe=measured.probe,
        flips=_flips(measured, BASELINE, role, rows),
        metrics=_metrics(measured, role),
        against_baseline=True,
        losses=_losses(measured, BASELINE, role, rows),
    )


def _against_champion(exam: Exam, measured: Measured, role: str, rows: BoolArray) -> Challenge:
    return Challenge(
        probe=measured.probe,
        flips=_flips(measured, CHAMPION, role, rows),
        metrics=_metrics(measured, role),
        anchor=_flips(measured, ANCHOR, role, rows) if exam.anchor is not None else None,
        is_anchor=exam.anchor is None,
        baseline=_flips(measured, BASELINE, role, rows),
        slices={name: _flips(measured, CHAMPION, role, rows & part) for name, part in measured.slices.items()},
        recalls={
            name: float(measured.right[CHAMPION][rows & part].mean())
            for name, part in measured.slices.items()
            if name.startswith(CLASSES) and (rows & part).any()
        },
        eras={name: _flips(measured, CHAMPION, role, part) for name, part in exam.eras.items()},
        losses=_losses(measured, CHAMPION, role, rows),
        size_ratio=_ratio(measured.sizes, role),
        latency_ratio=measured.latencies.get(role),
    )


def _losses(measured: Measured, opponent: str, role: str, rows: BoolArray) -> BrierLosses | None:
    if not {opponent, role} <= measured.losses.keys():
        return None
    return BrierLosses(measured.losses[opponent][rows], measured.losses[role][rows])


def _ratio(sizes: Mapping[str, int], role: str) -> float | None:
    return sizes[role] / sizes[CHAMPION] if {role, CHAMPION} <= sizes.keys() else None


def _distrust(exam: Exam, measured: Measured, settings: GateSettings) -> QuarantineVerdict:
    if not exam.own_windows:
        return QuarantineVerdict(quarantine=False, reason="it brings no window of its own", numbers={})
    if exam.champion is None:
        return quarantine_verdict(Flips(), None, None, settings.quarantine)
    right, here = measured.right[CHAMPION], exam.own
    # What else the candidate learned from is neither this window nor a witness about it.
    elsewhere = exam.challenger.rows & ~exam.fresh
    return quarantine_verdict(
        _flips(measured, CHAMPION, CHALLENGER, elsewhere),
        _tally(right[here]),
        _tally(right[elsewhere]),
        settings.quarantine,
    )


def _anchor(exam: Exam, measured: Measured, trusted: BoolArray, settings: GateSettings) -> AnchorVerdict:
    if exam.anchor is None:
        return AnchorVerdict()
    flips = _flips(measured, ANCHOR, CHAMPION, exam.since_promotion & trusted)
    found = evidence(flips)
    numbers = {"anchor_wins": flips.wins, "anchor_losses": flips.losses, "anchor_rows": flips.rows}
    return AnchorVerdict(found >= settings.anchor_odds, numbers | {"anchor_evidence": found})


def _flips(measured: Measured, opponent: str, role: str, rows: BoolArray) -> Flips:
    """Pairs two models on rows that both answered.

    Raises: ValueError if one of them was not asked about one of the rows.
    """
    if not (measured.answered[opponent] & measured.answered[role])[rows].all():
        raise ValueError(f"{opponent} and {role} did not both answer all rows on which they are compared")
    return count_flips(measured.right[opponent][rows], measured.right[role][rows])


def _tally(right: BoolArray) -> Tally:
    return Tally(int(right.sum()), right.size)


def _metrics(measured: Measured, role: str) -> dict[str, float]:
    """The contender's on its rows; empty, so incomplete, where they could not be computed."""
    scores = measured.scores.get(role, ())
    return next((score.metrics for score in scores if (score.model, score.rows_name) == (CHALLENGER, POOL)), {})
