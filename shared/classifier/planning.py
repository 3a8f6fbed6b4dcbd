"""Which plan a model should be computed by: candidates are timed side by side, and the fastest that agrees is taken.

Nothing is looked up in a table: a precision that this machine emulates shows by its time.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from shared.classifier.plan import EXACT, PRECISIONS, Plan, PlanPrecision
from shared.classifier.predictor import Scores
from shared.errors import DeviceLostError, TidemillError
from shared.plan_settings import PlanSettings

log = structlog.get_logger("planning")
_NEVER = float("inf")
# Smaller ones were slower on every machine measured, and chosen only where something else kept it busy.
SMALLEST_BUDGET = 512
MANY_THREADS = 4
# After a round, whoever took so much longer than the fastest is out: it will not make that up.
LAGGING_RATIO = 1.5
MAX_ROUNDS = 7
# Characters of reviews as they usually come: what is timed before any request was seen.
USUAL_LENGTHS = (40, 80, 120, 160, 250, 500, 1000)
_WORDS = (
    "the film was not what we had hoped for but its quiet second half and a fine cast made the evening worth "
    "our while although the story takes far too long to say what everybody knows from its first scene on "
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How close a plan's answers to labelled rows come to those of fp32."""

    rows: int
    labels: float
    largest_difference: float
    brier_rise: float

    @classmethod
    def of(cls, reference: Scores, found: Scores, truth: NDArray[np.int64]) -> "Agreement":
        """Args: truth: (n,) column of each row's true label."""
        exact, rough = (scores.probabilities.astype(np.float64) for scores in (reference, found))
        return cls(
            rows=len(truth),
            labels=float((reference.predicted == found.predicted).mean()),
            largest_difference=float(np.abs(exact - rough).max()),
            brier_rise=_brier(rough, truth) - _brier(exact, truth),
        )

    def refusal(self, bounds: PlanSettings) -> str | None:
        """Why a plan with these answers may not serve; None: it may."""
        if not self.labels >= bounds.min_label_agreement:
            return f"labels agree on {self.labels:.2%} of rows"
        if not self.largest_difference <= bounds.max_score_difference:
            return f"a score differs by {self.largest_difference:.3f}"
        if not self.brier_rise <= bounds.max_brier_rise:
            return f"Brier rises by {self.brier_rise:.4f}"
        return None


def _brier(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Half the squared distance between probabilities and truth, 0 to 1, as the gate counts it."""
    return float(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1).mean() / 2)


def candidates(usual: Plan, *, quantised: bool) -> list[Plan]:
    """What may be faster than the usual plan, itself included: the most exact first, then the likeliest.

    Args: quantised: whether other precisions than its own may serve.
    """
    precisions = PRECISIONS if quantised else (usual.precision,)
    return [
        Plan(usual.backend, precision, threads, budget)
        for precision in precisions
        for threads in _threads(usual.threads)
        for budget in _budgets(usual.token_budget)
    ]


def _threads(most: int) -> list[int]:
    """Half as many are faster where two share a core."""
    return [most, most // 2] if most >= MANY_THREADS else [most]


def _budgets(most: int) -> list[int]:
    """Fewer tokens stay in a smaller cache."""
    return [most, *(budget for budget in (most // 2, most // 4) if budget >= SMALLEST_BUDGET)]


def texts_of(lengths: Iterable[int], characters: int) -> list[str]:
    """Known words, cut to these lengths in characters, as many as together stay within `characters`; at least one."""
    texts: list[str] = []
    for length in lengths:
        if texts and length > characters:
            continue
        characters -= length
        texts.append((_WORDS * (length // len(_WORDS) + 1))[:length])
    return texts or [_WORDS]


def texts_up_to(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """The texts in order, so many at a time that together they stay within `characters`; at least one."""
    batch: list[str] = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > characters:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


class Asked(Protocol):
    """A model under a plan."""

    def predict(self, texts: Sequence[str]) -> Scores:
        """Answers in the order of the texts."""


Turn = Callable[[Callable[[], object]], None]
"""Calls, when it is its turn; whoever shares the machine decides when that is."""


def at_once(call: Callable[[], object]) -> None:
    """A machine that is shared with nobody."""
    call()


def race(
    contestants: Mapping[Plan, Asked],
    usual: Plan,
    texts: Sequence[str],
    settings: PlanSettings,
    turn: Turn = at_once,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Plan, float]:
    """Seconds of each contestant for all texts, the best of some rounds: others only ever make a round slower.

    In each round everyone answers the same texts in turn. Infinite: it failed, or was given up after its first text.
    Args: usual: one of them, which the others must not be hopelessly slower than.
    """
    watch = _Watch(turn, clock)
    shortest = [min(texts, key=len)]
    for model in contestants.values():
        watch.seconds(model, shortest)  # whatever is made at the first call
    first = {plan: watch.seconds(model, shortest) for plan, model in contestants.items()}
    running = [plan for plan in contestants if first[plan] <= settings.hopeless_ratio * first[usual] < _NEVER]
    best, watch.spent = dict.fromkeys(contestants, _NEVER), 0.0
    for _ in range(MAX_ROUNDS):
        for plan in running:
            best[plan] = min(best[plan], watch.seconds(contestants[plan], texts))
        running = [plan for plan in running if best[plan] <= LAGGING_RATIO * min(best.values())]
        if watch.spent >= settings.timing_seconds:
            break
    return best


class _Watch:
    """Times models, each in its turn. `spent`: seconds that they computed."""

    def __init__(self, turn: Turn, clock: Callable[[], float]) -> None:
        self._turn, self._clock = turn, clock
        self.spent = 0.0

    def seconds(self, model: Asked, texts: Sequence[str]) -> float:
        """Infinite if the model fails: a precision that the machine has no instructions for may be refused outright."""
        took = _NEVER

        def ask() -> None:
            nonlocal took
            began = self._clock()
            try:
                model.predict(texts)
            except DeviceLostError:
                raise
            except Exception as error:
                log.warning("plan_fails", error=f"{type(error).__name__}: {error}")
            else:
                took = self._clock() - began
                self.spent += took

        self._turn(ask)
        return took


def in_order(seconds: Mapping[Plan, float], tie_share: float) -> list[Plan]:
    """The plans to take, the best first: the fastest, or of those as fast to noise the first of the most exact."""
    left = {plan: took for plan, took in seconds.items() if took < _NEVER}
    order: list[Plan] = []
    while left:
        fastest = min(left.values())
        equal = [plan for plan, took in left.items() if took <= fastest * (1 + tie_share)]
        order.append(min(equal, key=lambda plan: PRECISIONS.index(plan.precision)))
        del left[order[-1]]
    return order


def speeds(seconds: Mapping[Plan, float], usual: Plan) -> dict[Plan, float | None]:
    """Texts for the same time, times the usual plan's; None for who failed or was given up."""
    return {plan: seconds[usual] / took if took < _NEVER else None for plan, took in seconds.items()}


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one candidate. `speed`: times the usual plan's; None: not known."""

    plan: Plan
    speed: float | None = None
    agreement: Agreement | None = None
    refusal: str | None = None
    chosen: bool = False


def choose(
    order: Sequence[Plan],
    speed: Mapping[Plan, float | None],
    judge: Callable[[Plan], Agreement],
    settings: PlanSettings,
) -> list[Tried]:
    """Judges the plans in their order until one may serve; says of each what became of it, exactly one chosen.

    Args:
        order: the best first; one of them is exact. speed: of these, and of those that are out of the question.
        judge: compares a plan's answers with those of fp32; asked once for each precision, never for fp32. Whatever of
            ours it raises refuses the plan.
    """
    found = {plan: Tried(plan, times, refusal="fails, or is hopelessly slow") for plan, times in speed.items()}
    verdicts: dict[PlanPrecision, tuple[Agreement | None, str | None]] = {EXACT: (None, None)}
    chosen = False
    for plan in order:
        if chosen:
            found[plan] = replace(found[plan], refusal="another goes before it")
            continue
        if plan.precision not in verdicts:
            verdicts[plan.precision] = _verdict(plan, judge, settings)
        agreement, refusal = verdicts[plan.precision]
        chosen = refusal is None
        found[plan] = replace(found[plan], agreement=agreement, refusal=refusal, chosen=chosen)
    return list(found.values())


def _verdict(
    plan: Plan, judge: Callable[[Plan], Agreement], settings: PlanSettings
) -> tuple[Agreement | None, str | None]:
    try:
        agreement = judge(plan)
    except TidemillError as error:
        return None, str(error)
    return agreement, agreement.refusal(settings)
