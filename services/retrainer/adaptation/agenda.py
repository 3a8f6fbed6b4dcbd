"""Which adaptation is in hand: at most one, in whatever time labelled windows leave."""

from collections.abc import Callable, Sequence

import structlog

from services.retrainer.adaptation.folder import AdaptationFolder
from services.retrainer.adaptation.order import AdaptationOrder, AdaptationWorkshop
from services.retrainer.adaptation.selection import obstacle
from services.retrainer.cycle import Cycle
from services.retrainer.history import History
from shared.events import BaseCandidate, UnlabeledWindow
from shared.metrics import JobMetrics
from shared.settings import Settings

log = structlog.get_logger("retrainer")


class Agenda:
    """Begins an adaptation when there is enough to learn, and brings it to its candidate step by step."""

    def __init__(self, settings: Settings, workshop: AdaptationWorkshop, metrics: JobMetrics) -> None:
        self._settings, self._workshop, self._metrics = settings, workshop, metrics
        self._cycle: Cycle[AdaptationFolder, BaseCandidate] | None = None
        self._resting = True
        self._told: str | None = None

    def advance(self, history: History, is_idle: Callable[[], bool]) -> BaseCandidate | None:
        """One short step; the candidate once there is one, until `drop`.

        Args: is_idle: asked before work is begun or taken up again, which takes a while: whether no window waits.
        Raises:
            RetryableError: The registry or the archive is not there; the next call tries again.
        """
        if self._cycle is None and not self._is_due(history):
            return None
        if self._resting and not is_idle():
            return None
        self._resting = False
        if self._cycle is None:
            self._cycle = self._begun(history)
        return self._cycle.advance()

    def rest(self) -> None:
        """Ends the job, if one is running; its checkpoint stays, and `advance` goes on from it."""
        if self._cycle is not None and not self._resting:
            log.info("adaptation_rests", phase=self._cycle.phase)
            self._cycle.stop()
        self._resting = True

    def drop(self) -> None:
        """Lets go of the adaptation in hand; its job, if one is running, ends."""
        if self._cycle is not None:
            self._cycle.stop()
        self._cycle, self._resting = None, True

    def tidy(self, window_ids: frozenset[str]) -> None:
        """Deletes the heavy parts of the runs of these windows."""
        self._workshop.runs.drop_heavy_parts_of(window_ids)

    def _is_due(self, history: History) -> bool:
        windows = history.bases.to_learn()
        if not windows:
            return False
        why_not = obstacle(history, self._settings)
        if why_not != self._told and why_not is not None:
            log.info("adaptation_waits", windows=len(windows), reason=why_not)
        self._told = why_not
        return why_not is None

    def _begun(self, history: History) -> Cycle[AdaptationFolder, BaseCandidate]:
        windows = self._as_planned(history.bases.to_learn())
        order = AdaptationOrder(windows, history, self._workshop)
        cycle = Cycle(order, self._settings.training, self._metrics)
        log.info("adaptation_taken", window_ids=[window.window_id for window in windows], phase=cycle.phase)
        return cycle

    def _as_planned(self, windows: Sequence[UnlabeledWindow]) -> Sequence[UnlabeledWindow]:
        """Those of a plan that was begun before, or all."""
        run = self._workshop.runs.planned_with(windows[0])
        plan = run.plan() if run else None
        return windows[: len(plan.windows)] if plan else windows
