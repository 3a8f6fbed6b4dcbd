"""The policies that are compared, and one run of one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import NamedTuple

from bench.gate.desk import (
    Desk,
    GateDesk,
    GateRules,
    Lord,
    OneLook,
    World,
    ahead,
    always,
    half_point_ahead,
    shipped,
    significantly_ahead,
)

# A promotion is harmful when it costs more than half a point, a disaster when it costs more than three.
HARMFUL, DISASTROUS = -0.005, -0.03
FLIP_BUDGET = shipped("negative_flips", "budget")


@dataclass(frozen=True)
class Policy:
    """A way to decide about candidates: who does it so, and how it is set up in a fresh world."""

    name: str
    text: str
    desk: Callable[[World], Desk]
    peer: bool = False


def _lord(world: World) -> Desk:
    return OneLook(world, Lord())


def _gate(**changed: float | bool | None) -> Callable[[World], Desk]:
    return partial(GateDesk, rules=GateRules(**changed))  # type: ignore[arg-type]


POLICIES = (
    Policy("a", "always", partial(OneLook, wants=always), peer=True),
    Policy("b", "estimate > champion", partial(OneLook, wants=ahead), peer=True),
    Policy("c", "estimate > champion + 0.5 pt", partial(OneLook, wants=half_point_ahead), peer=True),
    Policy("d", "exact McNemar, p < .05", partial(OneLook, wants=significantly_ahead), peer=True),
    Policy("d'", "LORD++, false discoveries 5 %", _lord, peer=True),
    Policy("b+", "estimate on the pool", partial(OneLook, wants=ahead, pooled=True), peer=True),
    Policy("e1", "gate, no pool, nobody waits", _gate(pooled=False, waiting=0)),
    Policy("e2", "gate, no pool, 4 wait", _gate(pooled=False, waiting=4)),
    Policy("e", "gate, recommended", _gate()),
    Policy("e-strict", "gate, margin 0", _gate(margin=0.0)),
    Policy("e-quick", "gate, odds 5", _gate(odds=5.0)),
    Policy("e-flips", f"gate, flip budget {FLIP_BUDGET:.0%}", _gate(flip_budget=FLIP_BUDGET)),
)
REPLAYED = (
    *(policy for policy in POLICIES if policy.name in ("a", "b", "b+")),
    Policy("e-from-champion", "gate, trained from the champion", _gate(chain_floor=None)),
    *(policy for policy in POLICIES if policy.name in ("e", "e-flips")),
)


class Tally(NamedTuple):
    """One run of a policy; accuracies and edges as shares of rows."""

    mean_accuracy: float
    final_accuracy: float
    harmful: float
    promotions: float
    disasters: float
    worst: float
    """The true edge of its worst promotion; 0 if none was for the worse."""


class Estimate(NamedTuple):
    """A mean over runs with its standard error (0 for a single run)."""

    mean: float
    error: float


def play(policy: Policy, world: World, windows: int) -> Tally:
    """Lets a policy decide about so many windows."""
    desk, accuracies = policy.desk(world), list[float]()
    for _ in range(windows):
        world.advance()
        desk.window()
        accuracies.append(world.accuracy(desk.champion))
    return Tally(
        fmean(accuracies),
        accuracies[-1],
        sum(edge < HARMFUL for edge in desk.edges),
        len(desk.edges),
        sum(edge < DISASTROUS for edge in desk.edges),
        min([0.0, *desk.edges]),
    )


def estimate(values: list[float]) -> Estimate:
    """Mean and standard error."""
    return Estimate(fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0)


def summary(tallies: list[Tally]) -> dict[str, Estimate]:
    """Each column over the runs; the worst promotion is the worst of all runs, without an error."""
    columns = {name: [float(tally[place]) for tally in tallies] for place, name in enumerate(Tally._fields)}
    worst = Estimate(min(columns.pop("worst")), 0.0)
    return {name: estimate(values) for name, values in columns.items()} | {"worst": worst}
