"""What is claimed of our defaults, judged from the runs; whatever comes out is reported."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from bench.loop.measures import Estimate, Outcome, estimate, figure
from bench.loop.policies import ALWAYS, EVERYTHING, FINE_TUNING, OURS, Kind, Policy

WITHIN = 0.01
FEWER_TIMES, SHARE_OF_COMPUTE = 20, 0.5
Runs = Mapping[str, Sequence[Outcome]]
"""By policy; place n of each list is the same stream."""


class Claim(NamedTuple):
    """One sentence, whether the means bear it out, and the numbers behind that, each pair with half of its interval."""

    text: str
    holds: bool
    numbers: dict[str, Any]


def claims(policies: Sequence[Policy], runs: Runs) -> list[Claim]:
    """Judges every claim against the policies that are no variants of ours."""
    peers = [policy for policy in policies if policy.kind in (Kind.GATED, Kind.UNGATED)]
    gated = [policy.name for policy in peers if policy.kind is Kind.GATED]
    return [
        _near_the_best([policy.name for policy in peers], runs),
        _above_the_gated(gated, runs),
        _harm(runs),
        _compute(runs),
        _forgetting(runs),
    ]


def _near_the_best(peers: Sequence[str], runs: Runs) -> Claim:
    best = _best(peers, runs)
    gain = _difference(runs, best, "accuracy")
    text = f"test-then-train accuracy: within {100 * WITHIN:g} point of the best alternative"
    return Claim(text, gain.mean >= -WITHIN, {"best": best, "gain": gain, "once_served": _once_served(runs, best)})


def _above_the_gated(gated: Sequence[str], runs: Runs) -> Claim:
    best = _best(gated, runs)
    gain = _difference(runs, best, "accuracy")
    numbers = {"best": best, "gain": gain, "once_served": _once_served(runs, best)}
    return Claim("test-then-train accuracy: above every other gated", gain.mean > 0, numbers)


def _harm(runs: Runs) -> Claim:
    ours, rival = (figure(runs[name], "harmful") for name in (OURS, ALWAYS))
    text = f"harmful promotions: at most 1/{FEWER_TIMES} of '{ALWAYS}'"
    return Claim(text, FEWER_TIMES * ours.mean <= rival.mean, {OURS: ours, ALWAYS: rival})


def _compute(runs: Runs) -> Claim:
    ours, rival = (figure(runs[name], "row_passes") for name in (OURS, EVERYTHING))
    text = f"rows through training: at most {SHARE_OF_COMPUTE:g} of '{EVERYTHING}'"
    numbers = {OURS: ours, EVERYTHING: rival, "share": ours.mean / rival.mean}
    return Claim(text, ours.mean <= SHARE_OF_COMPUTE * rival.mean, numbers)


def _forgetting(runs: Runs) -> Claim:
    gain = _difference(runs, FINE_TUNING, "backward_transfer")
    numbers: dict[str, Any] = {name: figure(runs[name], "backward_transfer") for name in (OURS, FINE_TUNING)}
    # A gate may forget little because it let little in; below the best that it ever had is another matter.
    numbers |= {f"{name} below its best": figure(runs[name], "forgotten") for name in (OURS, FINE_TUNING)}
    return Claim(f"backward transfer: above '{FINE_TUNING}'", gain.mean > 0, numbers | {"gain": gain})


def _best(names: Sequence[str], runs: Runs) -> str:
    return max(names, key=lambda name: figure(runs[name], "accuracy").mean)


def _difference(runs: Runs, rival: str, name: str) -> Estimate:
    """Ours less theirs, stream by stream."""
    pairs = zip(runs[OURS], runs[rival], strict=True)
    return estimate([getattr(ours, name) - getattr(theirs, name) for ours, theirs in pairs])


def _once_served(runs: Runs, rival: str) -> Estimate:
    """The gain in accuracy over the windows since our first promotion: what it costs until then is left out."""
    pairs = [pair for pair in zip(runs[OURS], runs[rival], strict=True) if pair[0].unserved < len(pair[0].by_window)]
    gains = [
        fmean(ours.by_window[ours.unserved :]) - fmean(theirs.by_window[ours.unserved :]) for ours, theirs in pairs
    ]
    return estimate(gains or [0.0])
