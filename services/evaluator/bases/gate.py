"""Judges one adapted base by two terms: it guesses the stream's words better, and classifies no worse for it. Pure.

The first alone proves little: a base that guesses words better need not classify better. A base is judged once; nothing
that is missing, not a number, or too little to tell ever promotes it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.evaluator.bases.guesses import Guesses, Saving, more_reviews, nats_a_guess, perplexity, saving
from services.evaluator.comparison import Flips, count_flips, evidence, harm, interval, more_rows
from services.evaluator.gate import Ruling, Stage, settle
from shared.events import Outcome, TermResult
from shared.gate_settings import BaseGateSettings

PERPLEXITY, ACCURACY = "perplexity", "accuracy_after_fine_tuning"

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What both bases did on rows that nobody trained on.

    Attributes:
        guesses: Words of unlabelled reviews.
        right_before: (m,) whether the classifier made of the parent was right on each labelled review.
        right_after: (m,) whether the one made of the adapted base was, by the same training on the same rows.
    """

    guesses: Guesses
    right_before: BoolArray
    right_after: BoolArray

    @property
    def flips(self) -> Flips:
        """The two classifiers row by row; a win is the adapted base's."""
        return count_flips(self.right_before, self.right_after)


def decide(found: Comparison, settings: BaseGateSettings) -> Ruling:
    """Judges both terms. Proven worse by either: reject. Both proven: promote. Otherwise undecided."""
    terms = (_perplexity(found.guesses, settings), _accuracy(found, settings))
    verdict, settling = settle([(Stage.REASON, term) for term in terms])
    return Ruling(
        verdict=verdict,
        reasons=tuple(f"{term.name.replace('_', ' ')}: {term.detail}" for term in settling),
        terms=terms,
        numbers=_numbers(found, settings),
    )


def _perplexity(guesses: Guesses, settings: BaseGateSettings) -> TermResult:
    if not guesses.rows:
        return _unmeasured(PERPLEXITY, Outcome.UNDECIDED, "no held-out unlabelled reviews with words to guess")
    if not np.isfinite(guesses.after).all():
        return _unmeasured(PERPLEXITY, Outcome.FAIL, "the adapted base loses nats that are no numbers")
    found = saving(guesses, settings.alpha)
    if found is None:
        why = "the parent loses nats that are no numbers" if guesses.rows > 1 else "one held-out review proves nothing"
        return _unmeasured(PERPLEXITY, Outcome.UNDECIDED, why)
    outcome, claim = _direction(found, settings.alpha)
    return TermResult(
        name=PERPLEXITY,
        outcome=outcome,
        guard=True,
        value=found.nats,
        low=found.low,
        high=found.high,
        threshold=0.0,
        rows=guesses.rows,
        need_rows=more_reviews(guesses, found, settings.alpha) if outcome is Outcome.UNDECIDED else None,
        detail=f"{_guessed(guesses)}: {claim}",
    )


def _direction(found: Saving, alpha: float) -> tuple[Outcome, str]:
    size = f"{abs(found.nats):.4g} nats a guess"
    if found.p_fewer < alpha:
        return Outcome.PASS, f"{size} fewer, proven (p {found.p_fewer:.2g} below {alpha:g})"
    if found.p_more < alpha:
        return Outcome.FAIL, f"{size} more, proven (p {found.p_more:.2g} below {alpha:g})"
    if found.nats == 0.0:
        return Outcome.UNDECIDED, "no difference at all"
    less = "fewer" if found.nats > 0.0 else "more"
    return Outcome.UNDECIDED, f"{size} {less}, not proven (p {min(found.p_fewer, found.p_more):.2g}, needed {alpha:g})"


def _guessed(guesses: Guesses) -> str:
    before, after = (perplexity(nats_a_guess(nats, guesses.counts)) for nats in (guesses.before, guesses.after))
    return f"{before:.4g} -> {after:.4g} on {guesses.total} words of {guesses.rows} reviews"


def _accuracy(found: Comparison, settings: BaseGateSettings) -> TermResult:
    flips, margin = found.flips, settings.margin
    if not flips.rows:
        return _unmeasured(ACCURACY, Outcome.UNDECIDED, "no held-out labelled reviews")
    safe, worse = evidence(flips, above=-margin), harm(flips)
    low, high = interval(flips)
    points = f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"
    kept = f"that it loses at most {points}" if margin else "that it is better"
    outcome, value, threshold = Outcome.UNDECIDED, safe, settings.odds
    claim = f"evidence {safe:.4g} {kept} is below {settings.odds:g}"
    if worse >= settings.reject_odds:
        outcome, value, threshold = Outcome.FAIL, worse, settings.reject_odds
        claim = f"evidence {worse:.4g} that it is worse reaches {settings.reject_odds:g}"
    elif safe >= settings.odds:
        outcome, claim = Outcome.PASS, f"evidence {safe:.4g} {kept} reaches {settings.odds:g}"
    return TermResult(
        name=ACCURACY,
        outcome=outcome,
        guard=True,
        value=value,
        low=low,
        high=high,
        threshold=threshold,
        rows=flips.rows,
        need_rows=more_rows(flips, margin, settings.odds) if outcome is Outcome.UNDECIDED else None,
        detail=f"{_answered(found)}: {claim}",
    )


def _answered(found: Comparison) -> str:
    flips = found.flips
    before, after = found.right_before.mean(), found.right_after.mean()
    return f"{before:.4f} -> {after:.4f}, {flips.wins} wins, {flips.losses} losses in {flips.rows} reviews"


def _unmeasured(name: str, outcome: Outcome, why: str) -> TermResult:
    return TermResult(name=name, outcome=outcome, guard=True, detail=why)


def _numbers(found: Comparison, settings: BaseGateSettings) -> dict[str, float]:
    """All that the terms were judged on; nothing for what was not measured."""
    numbers = _guess_numbers(found.guesses, settings) | _answer_numbers(found, settings)
    return {name: float(number) for name, number in numbers.items() if number is not None and math.isfinite(number)}


def _guess_numbers(guesses: Guesses, settings: BaseGateSettings) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {"texts": guesses.rows, "guesses": guesses.total}
    if not guesses.total:
        return numbers
    for name, nats in (("before", guesses.before), ("after", guesses.after)):
        mean = nats_a_guess(nats, guesses.counts)
        numbers |= {f"nats_{name}": mean, f"perplexity_{name}": perplexity(mean)}
    if (saved := saving(guesses, settings.alpha)) is not None:
        numbers |= {
            "nats_saved": saved.nats,
            "nats_saved_low": saved.low,
            "nats_saved_high": saved.high,
            "p_fewer_nats": saved.p_fewer,
            "p_more_nats": saved.p_more,
        }
    return numbers


def _answer_numbers(found: Comparison, settings: BaseGateSettings) -> dict[str, float | None]:
    flips = found.flips
    numbers: dict[str, float | None] = {"wins": flips.wins, "losses": flips.losses, "ties": flips.ties}
    numbers["rows"] = flips.rows
    if not flips.rows:
        return numbers
    low, high = interval(flips)
    return numbers | {
        "accuracy_before": found.right_before.mean(),
        "accuracy_after": found.right_after.mean(),
        "delta": flips.delta,
        "delta_low": low,
        "delta_high": high,
        "margin": settings.margin,
        "evidence_safe": evidence(flips, above=-settings.margin),
        "harm": harm(flips),
    }
