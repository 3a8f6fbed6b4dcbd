"""What is claimed of serving, judged from the figures of the same run; whatever comes out is reported."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from bench.serve.contestants import NAIVE, OURS
from bench.serve.measures import Overload, Point

BUSY, LIGHT = 32, 1
"""Connections at which throughput is compared, and those at which a lone client's latency is."""
SHARE_OF_BEST_P99 = 1 / 3
SHARE_OF_GOODPUT, REFUSED_WITHIN_MS, MEMORY_TIMES = 0.9, 50.0, 1.25


@dataclass(frozen=True)
class Claim:
    """One sentence, whether the figures bear it out (None: one that it needs is missing), and these figures."""

    text: str
    holds: bool | None
    numbers: dict[str, float | None] = field(default_factory=dict)


def claims(
    points: Sequence[Point], overloads: Sequence[Overload], saturating: float, low_precision: bool
) -> list[Claim]:
    """Judges every claim.

    Args:
        points: a median each. saturating: the naive server's rate.
        low_precision: ours may answer in bf16 or int8, and the processor computes them, so that more is claimed.
    """
    best_times, naive_times = (2.0, 5.0) if low_precision else (1.5, 3.0)
    busy = {each.contestant: each.per_second for each in points if (each.loop, each.load) == ("closed", BUSY)}
    tails = {each.contestant: each.p99 for each in points if (each.loop, each.load) == ("open", saturating)}
    light = {each.contestant: each.p50 for each in points if (each.loop, each.load) == ("closed", LIGHT)}
    best = max((rate for name, rate in busy.items() if name not in (OURS, NAIVE)), default=None)
    own = {(each.loop, each.load): each for each in points if each.contestant == OURS}
    at_busy, mine, naive = own.get(("closed", BUSY)), busy.get(OURS), busy.get(NAIVE)
    throughput, tail_text = f"throughput at {BUSY} connections", "p99 at the naive server's saturating rate"
    tail = min((p99 for name, p99 in tails.items() if name not in (OURS, NAIVE) and p99 is not None), default=None)
    return [
        _answering_all(
            at_busy, _at_least(f"{throughput}: {best_times:g} times the best peer's", mine, best, best_times)
        ),
        _answering_all(
            at_busy, _at_least(f"{throughput}: {naive_times:g} times the naive server's", mine, naive, naive_times)
        ),
        _answering_all(
            own.get(("open", saturating)),
            _at_most(f"{tail_text}: a third of the best peer's", tails.get(OURS), tail, SHARE_OF_BEST_P99),
        ),
        _at_most("p50 with one connection: the naive server's", light.get(OURS), light.get(NAIVE), 1.0),
        *_overload_claims([each for each in overloads if each.contestant == OURS]),
    ]


def _answering_all(own: Point | None, claim: Claim) -> Claim:
    """What is refused is quick and costs nothing: figures in which any request failed bear out no claim of speed."""
    if own is None:
        return claim
    holds = claim.holds and own.failed == 0
    return replace(
        claim, text=f"{claim.text}, no request failed", holds=holds, numbers=claim.numbers | {"failed": own.failed}
    )


def _overload_claims(overloads: Sequence[Overload]) -> list[Claim]:
    twice = [each for each in overloads if each.times == 2]
    return [
        _at_least(
            f"goodput at twice what it bears: {SHARE_OF_GOODPUT:g} of that at saturation",
            _middle([each.goodput for each in twice]),
            _middle([each.goodput for each in overloads if each.times == 1]),
            SHARE_OF_GOODPUT,
        ),
        _at_most(
            f"refused within {REFUSED_WITHIN_MS:g} ms (median)",
            _middle([each.refused_p50 for each in twice]),
            REFUSED_WITHIN_MS,
            1.0,
        ),
        _at_most(
            f"memory under overload: at most {MEMORY_TIMES:g} times that before",
            _middle([each.memory_peak for each in twice]),
            _middle([each.memory_before for each in twice]),
            MEMORY_TIMES,
        ),
    ]


def _at_least(text: str, ours: float | None, theirs: float | None, times: float) -> Claim:
    if ours is None or theirs is None:
        return Claim(text, None, {"ours": ours, "beside": theirs})
    return Claim(text, ours >= times * theirs, {"ours": ours, "beside": theirs, "times": _ratio(ours, theirs)})


def _at_most(text: str, ours: float | None, theirs: float | None, times: float) -> Claim:
    if ours is None or theirs is None:
        return Claim(text, None, {"ours": ours, "beside": theirs})
    return Claim(text, ours <= times * theirs, {"ours": ours, "beside": theirs, "times": _ratio(ours, theirs)})


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs else None


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def claim_line(claim: Claim) -> str:
    """As the table has it."""
    said = {True: "yes", False: "NO", None: "not judged"}[claim.holds]
    numbers = ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in claim.numbers.items())
    return f"{claim.text}: {said} ({numbers})"
