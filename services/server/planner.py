"""Finds the plan by which the model in service answers fastest, beside the answers, and switches to it.

A new model serves in fp32 at once. While another is taken over, or a challenger stands beside it, nothing is tried; so
no more than three are in memory, the one in service and one in each other precision. Only one step, a loading or a
forward pass, is waited for, and not for ever: one that takes longer than `ASIDE_SECONDS` keeps its models beside the
new one until it ends.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import structlog

from services.server.batcher import CHARS_PER_TOKEN
from services.server.card import Card
from services.server.holdout import Holdout
from services.server.plan_report import PlanReport
from services.server.shelf import Shelf
from services.server.slots import Challenger, ServedModel, Slot
from services.server.speeds import Speeds
from services.server.status import Status
from services.server.turns import AbandonedError, Turns
from services.server.workshop import Exam, Load, Workshop
from shared.classifier.plan import Plan
from shared.classifier.planning import USUAL_LENGTHS, Tried, candidates, choose, in_order, race, speeds, texts_of
from shared.errors import ModelError, TidemillError
from shared.plan_settings import OFF, PlanSettings

log = structlog.get_logger("planner")
ASIDE_SECONDS = 10.0


class Current(Protocol):
    """Where the model in service stands, and who may be beside it."""

    @property
    def current(self) -> Slot | None:
        """The model that the next request will get."""

    @property
    def challenger(self) -> Challenger | None:
        """The model beside it."""


class Replaces(Protocol):
    """Puts the same model under another plan into service."""

    def replace(self, expected: Slot, better: Slot) -> bool:
        """Switches if that model still serves."""

    def drain(self, retired: Slot) -> None:
        """Lets the retired one go once its last request has ended."""


class Outside:
    """What the planner asks of the rest of the server: a bundle of calls, each of which may fail or block."""

    def __init__(
        self,
        load: Load,
        holdout: Callable[[Card], Holdout],
        lengths: Callable[[], Sequence[int]],
        record: Callable[[Card, PlanReport], None],
        busy: Callable[[], bool],
    ) -> None:
        self.load, self.holdout, self.lengths, self.record, self.busy = load, holdout, lengths, record, busy


class Planner(threading.Thread):
    """One thread that looks for a better plan after every swap."""

    def __init__(
        self,
        settings: PlanSettings,
        slots: Current,
        stage: Replaces,
        shelf: Shelf,
        speeds: Speeds,
        status: Status,
        outside: Outside,
    ) -> None:
        super().__init__(name="planner", daemon=True)
        self._settings, self._slots, self._stage, self._outside = settings, slots, stage, outside
        self._shelf, self._speeds, self._status = shelf, speeds, status
        self._wanted, self._aside, self._working = threading.Event(), threading.Event(), threading.Lock()
        self._planned: Slot | None = None

    @contextmanager
    def standing_aside(self) -> Iterator[None]:
        """While another model is brought or let go, nothing is tried or held; then whatever serves alone is planned.

        Waits for the step under way, at most `ASIDE_SECONDS`.
        """
        self._aside.set()
        held = self._working.acquire(timeout=ASIDE_SECONDS)
        try:
            yield
        finally:
            self._aside.clear()
            if held:
                self._working.release()
            self._wanted.set()

    def run(self) -> None:
        """Steps after every swap, until the process ends."""
        while self._wanted.wait():
            self._wanted.clear()
            self.step()

    def step(self) -> None:
        """Plans for the model in service, unless that was done."""
        slot = self._slots.current
        if slot is None or slot is self._planned or self._slots.challenger is not None:
            return
        try:
            self._plan(slot)
        except AbandonedError:
            log.info("abandoned", version=slot.card.version)
        except Exception as error:
            # The model in service answers on as it does.
            log.warning("planning_failed", version=slot.card.version, error=f"{type(error).__name__}: {error}")

    def _plan(self, slot: Slot) -> None:
        if self._settings.use == OFF:
            return
        # Neither an archive nor a registry that is slow, nor a long request, may keep a promotion waiting.
        holdout, only_exact = self._holdout(slot.card)
        with self._working:
            self._unless_abandoned(slot)
            tried, planned = self._improved(slot, holdout, quantised=only_exact is None)
        self._planned = planned
        if planned is not slot:
            self._stage.drain(slot)
        self._report(slot.card, tried, only_exact)

    def _improved(self, slot: Slot, holdout: Holdout, *, quantised: bool) -> tuple[list[Tried], Slot]:
        """What was tried, and what serves now. All other models that were made are let go of at the end."""
        usual = Plan.parse(slot.model.plan)
        plans = self._plans(usual, quantised=quantised)
        exam = Exam(holdout.texts, holdout.labels, usual.token_budget * CHARS_PER_TOKEN, self._turns(slot).take)
        workshop = Workshop(self._outside.load, self._shelf.folder(slot.card), slot.model, exam)
        order, speed = self._ranked(workshop, slot.model, plans, exam)
        tried = choose(order, speed, workshop.judge, self._settings)
        chosen = next(each.plan for each in tried if each.chosen)
        return tried, slot if chosen == usual else self._switch(slot, workshop.model(chosen))

    def _plans(self, usual: Plan, *, quantised: bool) -> list[Plan]:
        if (fixed := self._settings.fixed) is None:
            return candidates(usual, quantised=quantised)
        return list(dict.fromkeys([usual, fixed])) if quantised or fixed.is_exact else [usual]

    def _holdout(self, card: Card) -> tuple[Holdout, str | None]:
        """The rows to compare answers on, or why there are none to rely on."""
        try:
            found = self._outside.holdout(card)
        except TidemillError as error:
            return Holdout([], np.zeros(0, np.int64)), str(error)
        least = self._settings.min_holdout_rows
        few = f"{len(found.texts)} held-out reviews, of which {least} are needed"
        return found, few if len(found.texts) < least else None

    def _turns(self, slot: Slot) -> Turns:
        return Turns(self._settings, self._outside.busy, lambda seconds: self._is_abandoned(slot, seconds))

    def _is_abandoned(self, slot: Slot, seconds: float) -> bool:
        """Whether, within so many seconds, something else goes before this one's plan."""
        return self._aside.wait(seconds) or self._slots.current is not slot or self._slots.challenger is not None

    def _unless_abandoned(self, slot: Slot) -> None:
        if self._is_abandoned(slot, 0.0):
            raise AbandonedError

    def _ranked(
        self, workshop: Workshop, model: ServedModel, plans: Sequence[Plan], exam: Exam
    ) -> tuple[list[Plan], dict[Plan, float | None]]:
        """The plans in the order in which they are judged, and how fast each is; one that is asked for is first."""
        if len(plans) == 1 or self._settings.fixed is not None:
            return list(reversed(plans)), dict.fromkeys(plans)
        seconds = self._seconds(workshop, model, plans, exam)
        return in_order(seconds, self._settings.tie_share), speeds(seconds, plans[0])

    def _seconds(self, workshop: Workshop, model: ServedModel, plans: Sequence[Plan], exam: Exam) -> dict[Plan, float]:
        """By plan, as they were measured for an earlier model of this shape, or measured now."""
        if (known := self._speeds.known(model.shape, plans)) is not None:
            return known
        made = {plan: made for plan in plans if (made := self._made(workshop, plan)) is not None}
        lengths = self._outside.lengths() or USUAL_LENGTHS * (1 + exam.characters // sum(USUAL_LENGTHS))
        raced = race(made, plans[0], texts_of(lengths, exam.characters), self._settings, exam.turn)
        seconds = dict.fromkeys(plans, float("inf")) | raced
        self._speeds.keep(model.shape, seconds)
        return seconds

    def _made(self, workshop: Workshop, plan: Plan) -> ServedModel | None:
        try:
            return workshop.model(plan)
        except ModelError as error:
            log.info("not_for_this_machine", plan=plan.id, reason=str(error))
            return None

    def _switch(self, slot: Slot, model: ServedModel) -> Slot:
        better = Slot(slot.card, model)
        self._unless_abandoned(slot)
        if not self._stage.replace(slot, better):
            raise AbandonedError
        self._status.serves(slot.card, model.plan)
        return better

    def _report(self, card: Card, tried: Sequence[Tried], only_exact: str | None) -> None:
        report = PlanReport.of(tried, only_exact)
        log.info("planned", version=card.version, plan=report.chosen, tried=len(report.tried), only_exact=only_exact)
        self._status.planned(card, report)
        self._outside.record(card, report)
