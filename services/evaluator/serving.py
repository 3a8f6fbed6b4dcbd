"""What replicas have counted of a challenger beside the champion, and what the gate makes of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import binomtest

from shared.events import CanaryCounts, Outcome, TermResult
from shared.gate_settings import ServingTermSettings

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Serving:
    """Sums over all replicas, of texts that champion and challenger were both asked.

    Attributes:
        disagreements: Texts with different labels.
        seconds, champion_seconds: That each took for all of them, alone.
    """

    compared: int = 0
    disagreements: int = 0
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
        compared=sums.compared + report.compared,
        disagreements=sums.disagreements + report.disagreements,
        seconds=sums.seconds + report.seconds,
        champion_seconds=sums.champion_seconds + report.champion_seconds,
    )


def judge_serving(term: ServingTermSettings, serving: Serving | None, against_baseline: bool) -> TermResult:
    """The term's result. Too few texts or none are undecided, and so is an interval that holds the limit.

    The interval is exact (Clopper and Pearson, 1934), two-sided, 95 %.
    """
    if against_baseline:
        return _result(term, Outcome.NOT_APPLICABLE, "without a champion nobody answers beside it")
    compared = serving.compared if serving else 0
    ratio = serving.latency_ratio if serving else None
    if serving is None or ratio is None or compared < term.min_texts:
        why = f"{compared} texts compared beside the champion, {term.min_texts} needed; see 'tidemill canary'"
        return _result(term, Outcome.UNDECIDED, why, rows=compared)
    interval = binomtest(serving.disagreements, compared).proportion_ci(_LEVEL)
    low, high = float(interval.low), float(interval.high)
    return TermResult(
        name=term.kind,
        outcome=_outcome(term, low, high, ratio),
        guard=term.guard,
        value=serving.disagreements / compared,
        low=low,
        high=high,
        threshold=term.max_disagreement,
        rows=compared,
        detail=f"{serving.disagreements} of {compared} texts labelled otherwise than by the champion, {low:.2%} to "
        f"{high:.2%} of all, {term.max_disagreement:.2%} at most; {ratio:.3g} times its seconds, "
        f"{term.max_latency_ratio:g} at most",
    )


def _outcome(term: ServingTermSettings, low: float, high: float, ratio: float) -> Outcome:
    if low > term.max_disagreement or ratio > term.max_latency_ratio:
        return Outcome.FAIL
    return Outcome.UNDECIDED if high > term.max_disagreement else Outcome.PASS


def _result(term: ServingTermSettings, outcome: Outcome, why: str, rows: int = 0) -> TermResult:
    return TermResult(name=term.kind, outcome=outcome, guard=term.guard, rows=rows, detail=why)
