"""Policies of promotion: what peers do with one look at each candidate, and our gate with its parts taken away.

Each is a desk that is shown one window after the other, in a world (`World`) that trains, scores and knows the truth.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

from bench.gate.bets import Bet, mcnemar, over_budget
from services.evaluator.comparison import Flips
from shared.events import Verdict
from shared.settings import GateSettings
from shared.training_settings import TrainingSettings

Wants = Callable[[Flips], bool]
FIRST = 0
SHIPPED = GateSettings()


def shipped(kind: str, field: str) -> float:
    """A number of one of the terms that the gate has by default."""
    return float(next(getattr(term, field) for term in SHIPPED.terms if term.kind == kind))


class World(Protocol):
    """Windows that come and models that learn from them; model 0 is there from the start."""

    def advance(self) -> None:
        """The next window: fresh held-out rows, answered by every model that is kept."""

    def train(self, start: int) -> int:
        """A new model, trained from `start` on the newest window."""

    def flips(self, champion: int, challenger: int, *, pooled: bool) -> Flips:
        """Two kept models paired on the pool (the fresh rows included), or on the fresh rows alone."""

    def keep(self, models: Collection[int]) -> None:
        """Forgets every other model."""

    def accuracy(self, model: int) -> float:
        """The truth, as of the newest window."""


class Desk:
    """Holds the champion, and the true edge of every promotion over the champion before it."""

    def __init__(self, world: World) -> None:
        self.world, self.champion = world, FIRST
        self.edges: list[float] = []

    def window(self) -> None:
        """Decides about the newest window's candidate."""
        raise NotImplementedError

    def _promote(self, challenger: int) -> None:
        self.edges.append(self.world.accuracy(challenger) - self.world.accuracy(self.champion))
        self.champion = challenger


class OneLook(Desk):
    """Judges a candidate once, when it is new, and forgets it unless it is promoted."""

    def __init__(self, world: World, wants: Wants, *, pooled: bool = False) -> None:
        super().__init__(world)
        self._wants, self._pooled = wants, pooled

    def window(self) -> None:
        candidate = self.world.train(self.champion)
        if self._wants(self.world.flips(self.champion, candidate, pooled=self._pooled)):
            self._promote(candidate)
        self.world.keep({self.champion})


@dataclass(frozen=True, slots=True)
class GateRules:
    """Our gate's settings, by default those that it is shipped with, but without its vetoes."""

    margin: float = shipped("safe", "margin")
    odds: float = shipped("safe", "odds")
    reject_odds: float = shipped("proven_worse", "odds")
    anchor_odds: float = SHIPPED.anchor_odds
    pooled: bool = True
    waiting: int = SHIPPED.waiting
    chain_floor: float | None = TrainingSettings().chain_floor
    """Train from the newest waiting challenger whose edge is no lower; None: always from the champion."""
    anchored: bool = True
    flip_budget: float | None = None
    """Rejects what would be promoted when its losses are proven to be a greater share of all rows; None: never."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An undecided challenger, with its rows against the champion and against the anchor."""

    model: int
    champion: Flips
    anchor: Flips


class GateDesk(Desk):
    """The gate: evidence that accumulates while challengers wait, and learning that goes on from those that do.

    In each window the waiting ones are judged on its fresh rows first, oldest first; then the new candidate.
    """

    def __init__(self, world: World, rules: GateRules) -> None:
        super().__init__(world)
        self.anchor, self.room = FIRST, list[Waiting]()
        self._rules, self._since_promotion = rules, Flips()
        self._safe, self._better = Bet(-rules.margin), Bet()

    def window(self) -> None:
        self._move_anchor()
        waiting, self.room = self.room, []
        for each in waiting:
            if not self._judge(self._seen_again(each)):
                break
        self._judge(self._new_candidate())
        self.world.keep({self.champion, self.anchor, *(each.model for each in self.room)})

    def verdict(self, each: Waiting) -> Verdict:
        """Proven worse: reject. Safe against champion and anchor, and ahead: promote. Else undecided.

        What would be promoted is rejected when it is over the flip budget, where there is one.
        """
        if self._better.against(each.champion) >= self._rules.reject_odds:
            return Verdict.REJECT
        against = (each.champion, each.anchor) if self._rules.anchored else (each.champion,)
        if not ahead(each.champion) or any(self._safe(flips) < self._rules.odds for flips in against):
            return Verdict.UNDECIDED
        budget = self._rules.flip_budget
        vetoed = budget is not None and over_budget(each.champion, budget)
        return Verdict.REJECT if vetoed else Verdict.PROMOTE

    def _judge(self, each: Waiting) -> bool:
        """False if it was promoted, which sends away whoever waits."""
        verdict = self.verdict(each)
        if verdict is Verdict.UNDECIDED:
            self._let_wait(each)
        if verdict is Verdict.PROMOTE:
            self._promote(each.model)
            self.room, self._since_promotion = [], Flips()
        return verdict is not Verdict.PROMOTE

    def _let_wait(self, each: Waiting) -> None:
        # The newcomer never leaves. If the least of all did, 200 fresh rows would end .2 points higher in this world,
        # but 1.9 lower where gains are small and steady: learning would go on from a model that is not the newest.
        if len(self.room) == self._rules.waiting > 0:
            self.room.remove(min(self.room, key=lambda other: self._safe(other.champion)))
        if self._rules.waiting:
            self.room.append(each)

    def _new_candidate(self) -> Waiting:
        model = self.world.train(self._start())
        return self._scored(model, pooled=self._rules.pooled)

    def _start(self) -> int:
        floor = self._rules.chain_floor
        if floor is None:
            return self.champion
        return next((each.model for each in reversed(self.room) if each.champion.delta >= floor), self.champion)

    def _scored(self, model: int, *, pooled: bool) -> Waiting:
        champion = self.world.flips(self.champion, model, pooled=pooled)
        if self.anchor == self.champion:
            return Waiting(model, champion, champion)
        return Waiting(model, champion, self.world.flips(self.anchor, model, pooled=pooled))

    def _seen_again(self, each: Waiting) -> Waiting:
        fresh = self._scored(each.model, pooled=False)
        return Waiting(each.model, each.champion + fresh.champion, each.anchor + fresh.anchor)

    def _move_anchor(self) -> None:
        """The champion becomes the anchor once it is proven better, on rows that came after its promotion."""
        if not self._rules.anchored:
            self.anchor = self.champion
        if self.anchor == self.champion:
            return
        self._since_promotion += self.world.flips(self.anchor, self.champion, pooled=False)
        if self._better(self._since_promotion) >= self._rules.anchor_odds:
            self.anchor = self.champion
            self.room = [replace(each, anchor=each.champion) for each in self.room]


class Lord:
    """LORD++: a level for each test such that of all promotions, 5 % on average are of candidates that are no better.

    Source: Ramdas, Yang, Wainwright and Jordan, "Online control of the false discovery rate with decaying memory",
    NeurIPS 2017; gamma as proposed by Javanmard and Montanari, Annals of Statistics 46, 2018.
    """

    def __init__(self, rate: float = 0.05) -> None:
        self._rate, self._seen, self._promoted = rate, 0, list[int]()

    def __call__(self, flips: Flips) -> bool:
        self._seen += 1
        wanted = mcnemar(flips.wins, flips.losses) <= self.level()
        if wanted:
            self._promoted.append(self._seen)
        return wanted

    def level(self) -> float:
        """The level of the newest test."""
        first_wealth = self._rate / 2
        earned = [self._rate - first_wealth] + [self._rate] * len(self._promoted)
        parts = (wealth * _gamma(self._seen - when) for wealth, when in zip(earned, self._promoted, strict=False))
        return first_wealth * _gamma(self._seen) + sum(parts)


def _gamma(age: int) -> float:
    return 0.0722 * math.log(max(age, 2)) / (age * math.exp(math.sqrt(math.log(age))))


def always(flips: Flips) -> bool:
    """Policy a: whatever the rows say."""
    return True


def ahead(flips: Flips) -> bool:
    """Policy b: the estimate is above the champion's."""
    return flips.wins > flips.losses


def half_point_ahead(flips: Flips) -> bool:
    """Policy c: the estimate is above the champion's by more than half a point."""
    return flips.delta > 0.005


def significantly_ahead(flips: Flips) -> bool:
    """Policy d: the exact McNemar test, one-sided, says p < .05."""
    return mcnemar(flips.wins, flips.losses) < 0.05
