"""Which reviews of earlier windows are learned again, so that a new window does not push the old ones out.

A policy works in two steps, so that only the snapshots of windows that give rows are read: `quotas` shares what is
wanted among windows, by their manifests alone; `draw` picks a window's rows.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from shared.events import ClosedWindow, Side
from shared.training_settings import (
    BalancedReplaySettings,
    HardReplaySettings,
    LabelBalancedReplaySettings,
    ReplaySettings,
    ReservoirReplaySettings,
)


@dataclass(frozen=True)
class EarlierRow:
    """A training row of an earlier window, as far as drawing needs it."""

    offset: int
    label: int


class ReplayPolicy(Protocol):
    """Says how many rows each earlier window gives, and which."""

    def quotas(self, available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
        """Rows by window id, none above what is available, `wanted` in all if there are that many to draw from."""

    def draw(self, window_id: str, rows: Sequence[EarlierRow], count: int, seed: int) -> tuple[int, ...]:
        """Offsets of `count` rows (all, if there are fewer), rising; the same seed draws the same ones."""


class BalancedReplay:
    """Every earlier window gives as many rows as any other; one that has fewer gives all it has."""

    def quotas(self, available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
        return even_shares(available, wanted, chance)

    def draw(self, window_id: str, rows: Sequence[EarlierRow], count: int, seed: int) -> tuple[int, ...]:
        return sample(window_id, [row.offset for row in rows], count, seed)


class LabelBalancedReplay(BalancedReplay):
    """Windows give alike, and so do the labels within each; what a rare label cannot give, the others do."""

    def draw(self, window_id: str, rows: Sequence[EarlierRow], count: int, seed: int) -> tuple[int, ...]:
        present = Counter(str(row.label) for row in rows)
        shares = even_shares(present, count, random.Random(f"{seed}:{window_id}:labels"))
        drawn = (
            sample(f"{window_id}:{label}", [row.offset for row in rows if str(row.label) == label], share, seed)
            for label, share in shares.items()
        )
        return tuple(sorted(offset for offsets in drawn for offset in offsets))


class ReservoirReplay:
    """Each window leaves a fixed sample behind; replay draws from all samples together.

    The memory is the same in every plan, what is drawn from it is not. A window's sample is drawn in one pass over
    rows of any number (a reservoir).
    Source: Vitter, "Random sampling with a reservoir", 1985; for replay: Chaudhry et al., arXiv:1902.10486.
    """

    def __init__(self, rows_per_window: int, memory_seed: int) -> None:
        self._rows, self._memory_seed = rows_per_window, memory_seed

    def quotas(self, available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
        remembered = {window_id: min(rows, self._rows) for window_id, rows in available.items()}
        places = list(remembered)
        total = sum(remembered.values())
        drawn = Counter(chance.sample(places, min(wanted, total), counts=list(remembered.values())) if total else ())
        return {window_id: drawn[window_id] for window_id in places if drawn[window_id]}

    def draw(self, window_id: str, rows: Sequence[EarlierRow], count: int, seed: int) -> tuple[int, ...]:
        return sample(window_id, self.memory(window_id, rows), count, seed)

    def memory(self, window_id: str, rows: Iterable[EarlierRow]) -> tuple[int, ...]:
        """The offsets that are remembered of a window, rising."""
        chance = random.Random(f"{self._memory_seed}:{window_id}:memory")
        kept: list[int] = []
        for seen, row in enumerate(rows):
            if seen < self._rows:
                kept.append(row.offset)
            elif (place := chance.randrange(seen + 1)) < self._rows:
                kept[place] = row.offset
        return tuple(sorted(kept))


class HardReplay(BalancedReplay):
    """Windows give alike, more rows than are wanted; the job keeps those that the start model finds hardest."""

    def __init__(self, candidates: float) -> None:
        self._candidates = candidates

    def quotas(self, available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
        return even_shares(available, round(self._candidates * wanted), chance)


def build_policy(settings: ReplaySettings, memory_seed: int = 0) -> ReplayPolicy:
    """The policy that the settings name. `memory_seed` must be the same in every plan of a stream."""
    match settings:
        case BalancedReplaySettings():
            return BalancedReplay()
        case LabelBalancedReplaySettings():
            return LabelBalancedReplay()
        case ReservoirReplaySettings():
            return ReservoirReplay(settings.rows_per_window, memory_seed)
        case HardReplaySettings():
            return HardReplay(settings.candidates)
        case _:
            assert_never(settings)


def even_shares(available: Mapping[str, int], wanted: int, chance: random.Random) -> dict[str, int]:
    """What each gives if all give alike, as far as they have it; who gives nothing is left out."""
    # Smallest first: what a small one cannot give is shared among the larger ones behind it.
    order = sorted(available, key=lambda name: (available[name], chance.random()))
    given: dict[str, int] = {}
    left = wanted
    for place, name in enumerate(order):
        given[name] = min(available[name], left // (len(order) - place))
        left -= given[name]
    return {name: given[name] for name in available if given[name]}


def eligible(
    windows: Iterable[ClosedWindow], before: int | None, quarantined: frozenset[str]
) -> dict[str, ClosedWindow]:
    """Trainable windows that nobody distrusts, with a sequence below `before` if given, by id, oldest first."""
    earlier = (each for each in windows if each.trainable and (before is None or each.sequence < before))
    kept = (window for window in earlier if window.window_id not in quarantined)
    return {window.window_id: window for window in sorted(kept, key=lambda window: window.sequence)}


def replay_quotas(windows: Mapping[str, ClosedWindow], policy: ReplayPolicy, wanted: int, seed: int) -> dict[str, int]:
    """How many training rows each window gives; the manifests know enough, no snapshot is read."""
    available = {window_id: window.sides.get(Side.TRAIN, 0) for window_id, window in windows.items()}
    return policy.quotas(available, wanted, random.Random(f"{seed}:quotas"))


def sample(window_id: str, offsets: Sequence[int], count: int, seed: int) -> tuple[int, ...]:
    """`count` of a window's training offsets (all, if it has fewer), rising; the same seed draws the same ones."""
    return tuple(sorted(random.Random(f"{seed}:{window_id}").sample(list(offsets), min(count, len(offsets)))))
