"""What windows of unlabelled text ask for: one adapted base."""

from collections.abc import Sequence

from services.retrainer.adaptation.folder import AdaptationFolder
from services.retrainer.adaptation.preparation import AdaptationPreparation
from services.retrainer.adaptation.registration import BaseRegistration
from services.retrainer.history import History
from services.retrainer.launcher import Job
from services.retrainer.machine import Machine
from services.retrainer.plan import DecisionWait
from services.retrainer.runs import Runs
from shared.archive import Archive
from shared.events import BaseCandidate, CandidateStatus, ClosedWindow, UnlabeledWindow, utc_now
from shared.registry import Registry
from shared.settings import Settings


class AdaptationWorkshop:
    """Makes adapted bases on this machine: prepares, trains in a process of its own, registers."""

    def __init__(self, settings: Settings, bases: Registry, machine: Machine) -> None:
        """Args: bases: the registry, speaking of the base."""
        self.preparation = AdaptationPreparation(settings, Archive(settings), bases, machine)
        self.registration = BaseRegistration(bases)
        self.runs = Runs(settings.home, settings.stream, AdaptationFolder)
        self.timeout_seconds = settings.training.timeout_seconds


class AdaptationOrder:
    """Windows that are learned together, oldest first."""

    def __init__(self, windows: Sequence[UnlabeledWindow], history: History, workshop: AdaptationWorkshop) -> None:
        self.windows, self._history, self._workshop = tuple(windows), history, workshop

    @property
    def name(self) -> str:
        return self.windows[-1].window_id

    def answer(self) -> BaseCandidate | None:
        return None

    def awaited(self) -> str | None:
        return self._history.bases.undecided()

    def found(self) -> BaseCandidate | None:
        return self._workshop.registration.find(self.windows, self._workshop.runs.of(self.windows))

    def prepare(self, wait: DecisionWait) -> AdaptationFolder:
        return self._workshop.preparation.prepare(self.windows, self._history, wait)

    def launch(self, run: AdaptationFolder) -> Job:
        return Job(run, self._workshop.timeout_seconds)

    def register(self, run: AdaptationFolder) -> BaseCandidate:
        return self._workshop.registration.register(run, self._manifests(run))

    def failed(self, reason: str) -> BaseCandidate:
        return BaseCandidate(
            window_id=self.name,
            window_ids=tuple(window.window_id for window in self.windows),
            status=CandidateStatus.FAILED,
            reason=reason,
            created_at=utc_now(),
        )

    def _manifests(self, run: AdaptationFolder) -> list[UnlabeledWindow | ClosedWindow]:
        plan = run.plan()
        if plan is None:
            return []
        texts = (self._history.bases.windows[name] for name in (*plan.window_ids, *plan.replay_window_ids))
        return [*texts, *(self._history.windows[name] for name in plan.probe_window_ids)]
