"""What replicas have counted of a challenger beside the champion, and what the gate makes of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import binomtest

from shared.events import CanaryCounts, Outcome, TermResult
from shared.gate_settings import ServingTermSettings

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Serving:
    """Sums over all replicas.

    Attributes:
        asked: Requests that the challenger was to answer and texts to compare.
        failures: Of these, that it failed on or had not ended in time.
        compared: Texts that champion and challenger were both asked.
        disagreements: Of these, with different labels.
        timed: Of these, by one plan.
        seconds, champion_seconds: That each took for all that are timed, alone.
    """

    asked: int = 0
    failures: int = 0
    compared: int = 0
    disagreements: int = 0
    timed: int = 0
    seconds: float = 0.0
    champion_seconds: float = 0.0

    @property
    def latency_ratio(self) -> float | None:
        """Challenger's seconds per second of the champion; None: not measured."""
        return self.seconds / self.champion_seconds if self.champion_seconds > 0 else None


def served(reports: Iterable[CanaryCounts], champion: str) -> dict[str, Serving]:
    """Version -> sums of the latest report of every session, of those beside this champion.

    Args: reports: Oldest first.
    """
    latest = {(each.version, each.replica_id, each.session_id): each for each in reports if each.champion == champion}
    found: dict[str, Serving] = {}
    for report in latest.values():
        found[report.version] = _added(found.get(report.version, Serving()), report)
    return found


def _added(sums: Serving, report: CanaryCounts) -> Serving:
    return Serving(
        asked=sums.asked + report.asked,
        failures=sums.failures + report.failures,
        compared=sums.compared + report.compared,
        disagreements=sums.disagreements + report.disagreements,
        timed=sums.timed + report.timed,
        seconds=sums.seconds + report.seconds,
        champion_seconds=sums.champion_seconds + report.champion_seconds,
    )


def judge_serving(term: ServingTermSettings, serving: Serving | None, against_baseline: bool) -> TermResult:
    """The term's result, of three parts: one that fails fails it, and all must pass for it to pass.

    Too few texts or none are undecided, and so is an interval that holds its limit. Intervals are exact (Clopper and
    Pearson, 1934), two-sided, 95 %.
    """
    if against_baseline:
        return TermResult(
            name=term.kind,
            outcome=Outcome.NOT_APPLICABLE,
            guard=term.guard,
            rows=0,
            detail="without a champion nobody answers beside it",
        )
    found = serving or Serving()
    low, high = _interval(found.disagreements, found.compared)
    parts = [_failures(term, found), _disagreements(term, found), _latency(term, found)]
    outcomes = {outcome for outcome, _ in parts}
    return TermResult(
        name=term.kind,
        outcome=next((each for each in (Outcome.FAIL, Outcome.UNDECIDED) if each in outcomes), Outcome.PASS),
        guard=term.guard,
        value=found.disagreements / found.compared if found.compared else None,
        low=low if found.compared else None,
        high=high if found.compared else None,
        threshold=term.max_disagreement,
        rows=found.compared,
        detail="; ".join(said for _, said in parts),
    )


Part = tuple[Outcome, str]


def _failures(term: ServingTermSettings, serving: Serving) -> Part:
    low, high = _interval(serving.failures, serving.asked)
    said = (
        f"failed {serving.failures} times of {serving.asked}, {low:.2%} to {high:.2%} of all, "
        f"{term.max_failures:.2%} at most"
    )
    return _outcome(low, high, term.max_failures), said


def _disagreements(term: ServingTermSettings, serving: Serving) -> Part:
    if serving.compared < term.min_texts:
        few = f"{serving.compared} texts compared beside the champion, {term.min_texts} needed; see 'tidemill canary'"
        return Outcome.UNDECIDED, few
    low, high = _interval(serving.disagreements, serving.compared)
    said = (
        f"{serving.disagreements} of {serving.compared} texts labelled otherwise than by the champion, {low:.2%} to "
        f"{high:.2%} of all, {term.max_disagreement:.2%} at most"
    )
    return _outcome(low, high, term.max_disagreement), said


def _latency(term: ServingTermSettings, serving: Serving) -> Part:
    if not term.judges_latency:
        return Outcome.PASS, "its seconds are not asked for"
    ratio = serving.latency_ratio
    if ratio is None or serving.timed < term.min_texts:
        few = f"{serving.timed} texts timed where both computed by one plan, {term.min_texts} needed"
        return Outcome.UNDECIDED, few
    outcome = Outcome.FAIL if ratio > term.max_latency_ratio else Outcome.PASS
    return outcome, f"{ratio:.3g} times its seconds, {term.max_latency_ratio:g} at most"


def _outcome(low: float, high: float, limit: float) -> Outcome:
    if low > limit:
        return Outcome.FAIL
    return Outcome.UNDECIDED if high > limit else Outcome.PASS


def _interval(events: int, of: int) -> tuple[float, float]:
    if not of:
        return 0.0, 1.0
    found = binomtest(events, of).proportion_ci(_LEVEL)
    return float(found.low), float(found.high)
