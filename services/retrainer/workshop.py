"""Makes candidates on this machine: prepares, trains in a process group, registers."""

from collections.abc import Sequence

from services.retrainer.history import History
from services.retrainer.launcher import Job
from services.retrainer.machine import Machine
from services.retrainer.plan import DecisionWait
from services.retrainer.preparation import Preparation
from services.retrainer.rebuild import Rebuild
from services.retrainer.registration import Registration
from services.retrainer.runs import RunFolder, Runs
from shared.archive import Archive
from shared.events import Candidate, ClosedWindow
from shared.registry import Registry
from shared.settings import Settings


class LocalWorkshop:
    """Trains in a process group on this machine."""

    def __init__(self, settings: Settings, registry: Registry, bases: Registry, machine: Machine) -> None:
        """Args: bases: the registry, speaking of the base."""
        self._settings = settings
        self._preparation = Preparation(settings, Archive(settings), registry, bases, machine)
        self._registration = Registration(registry)
        self._runs = Runs(settings.home, settings.stream, RunFolder)

    def found(self, windows: Sequence[ClosedWindow]) -> Candidate | None:
        return self._registration.find(windows, self._runs.of(windows))

    def prepare(self, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> RunFolder:
        return self._preparation.prepare(windows, history, wait)

    def launch(self, run: RunFolder) -> Job:
        return Job(run, self._settings.training.timeout_seconds)

    def register(self, run: RunFolder, history: History) -> Candidate:
        plan = run.plan()
        learned = (*plan.window_ids, *plan.replay_window_ids) if plan else ()
        return self._registration.register(run, [history.windows[window_id] for window_id in learned])

    def record_look(self, run: RunFolder, windows: Sequence[ClosedWindow]) -> str:
        return self._registration.record_look(run, windows)


class RebuildWorkshop(LocalWorkshop):
    """The same, for one order to rebuild; the windows that it is given are the order's."""

    def __init__(
        self, settings: Settings, registry: Registry, bases: Registry, machine: Machine, rebuild: Rebuild
    ) -> None:
        super().__init__(settings, registry, bases, machine)
        self._rebuild = rebuild

    def found(self, windows: Sequence[ClosedWindow]) -> Candidate | None:
        return self._registration.find_rebuild(self._rebuild.name, self._runs.folder(self._rebuild.name))

    def prepare(self, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> RunFolder:
        return self._preparation.prepare_rebuild(self._rebuild, history)
