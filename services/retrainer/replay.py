"""Which reviews of earlier windows are learned again, so that a new window does not push the old ones out."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, assert_never

from shared.events import ClosedWindow, Side
from shared.settings import BalancedReplaySettings, ReplaySettings


class ReplayPolicy(Protocol):
    """Says how many rows each earlier window gives; which ones is drawn by `sample`."""

    def quotas(self, available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
        """Rows by window id, none above what is available, `wanted` in all if there are that many."""


class BalancedReplay:
    """Every earlier window gives as many rows as any other; one that has fewer gives all it has."""

    def quotas(self, available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
        # Smallest first: what a small window cannot give is shared among the larger ones behind it.
        order = sorted(available, key=lambda window_id: (available[window_id], chance.random()))
        given: dict[str, int] = {}
        left = wanted
        for place, window_id in enumerate(order):
            given[window_id] = min(available[window_id], left // (len(order) - place))
            left -= given[window_id]
        return {window_id: given[window_id] for window_id in available if given[window_id]}


def build_policy(settings: ReplaySettings) -> ReplayPolicy:
    """The policy that the settings name."""
    match settings:
        case BalancedReplaySettings():
            return BalancedReplay()
        case _:
            assert_never(settings)


def eligible(windows: Iterable[ClosedWindow], before: int, quarantined: frozenset[str]) -> dict[str, ClosedWindow]:
    """Trainable windows with a sequence below `before` that nobody distrusts, by id, oldest first."""
    earlier = (window for window in windows if window.sequence < before and window.trainable)
    kept = (window for window in earlier if window.window_id not in quarantined)
    return {window.window_id: window for window in sorted(kept, key=lambda window: window.sequence)}


def replay_quotas(windows: Mapping[str, ClosedWindow], policy: ReplayPolicy, wanted: int, seed: int) -> dict[str, int]:
    """How many training rows each window gives; the manifests know enough, no snapshot is read."""
    available = {window_id: window.sides.get(Side.TRAIN, 0) for window_id, window in windows.items()}
    return policy.quotas(available, wanted, random.Random(f"{seed}:quotas"))


def sample(window_id: str, offsets: Sequence[int], count: int, seed: int) -> tuple[int, ...]:
    """`count` of a window's training offsets (all, if it has fewer), rising; the same seed draws the same ones."""
    return tuple(sorted(random.Random(f"{seed}:{window_id}").sample(list(offsets), min(count, len(offsets)))))
