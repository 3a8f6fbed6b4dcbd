"""Makes a run ready for its job: the plan if there is none, the rows, and the weights to start from."""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from services.retrainer.history import History
from services.retrainer.machine import Machine
from services.retrainer.parents import Parents
from services.retrainer.plan import DecisionWait, Plan, StartPoint, make_plan, plan_seed, wanted_replay
from services.retrainer.replay import EarlierRow, build_policy, eligible, replay_quotas
from services.retrainer.runs import JobSetup, RunFolder, Runs, TrainingRow
from services.retrainer.start import choose_start
from shared.archive import Archive, WindowRow
from shared.errors import SnapshotError
from shared.events import ClosedWindow, Side, Snapshot, utc_now
from shared.lineage import code_version
from shared.registry import Registry
from shared.settings import Settings

log = structlog.get_logger("retrainer")


class Preparation:
    """Turns windows into a run folder that the job can work on. Doing it again changes nothing."""

    def __init__(self, settings: Settings, archive: Archive, registry: Registry, machine: Machine) -> None:
        self._settings, self._archive, self._machine = settings, archive, machine
        self._parents = Parents(registry, settings.home)
        self._runs = Runs(settings.home, settings.stream)

    def prepare(self, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> RunFolder:
        """A plan that is there is kept: what was begun with it must be finished with it.

        Raises:
            SnapshotError: A window's rows are missing or altered.
            ModelError: A version to start from cannot be had.
            ArchiveUnavailableError, RegistryUnavailableError: Try again later.
        """
        run = self._runs.of(windows)
        plan = run.plan() or self._planned(run, windows, history, wait)
        if run.result() is None:
            self.furnish(run, plan)
        return run

    def furnish(self, run: RunFolder, plan: Plan) -> None:
        """Gives a run what its job works on: the plan's rows and weights. Raises as `prepare` does."""
        self._write_rows(run, plan)
        folders = self._parents.folders(plan.start.parents) or (self._machine.base_folder,)
        setup = JobSetup(start_folders=folders, threads=self._settings.model.threads)
        run.write(run.setup_file, setup)

    def _planned(self, run: RunFolder, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> Plan:
        earlier = eligible(history.windows.values(), windows[0].sequence, history.quarantined())
        training = self._settings.training
        plan = make_plan(
            windows,
            self._drawn(earlier, wanted_replay(windows, training), plan_seed(training.seed, windows[-1].sequence)),
            earlier,
            start=self._start(history),
            training=training,
            hardware=self._machine.hardware,
            decision_wait=wait,
            code_version=code_version(),
            now=utc_now(),
        )
        run.write(run.plan_file, plan)
        log.info("planned", window_id=plan.window_id, new_rows=plan.new_rows, replay_rows=plan.replay_rows)
        return plan

    def _start(self, history: History) -> StartPoint:
        model, training = self._settings.model, self._settings.training
        chosen = choose_start(training, history.champion, history.waiting, history.promoted)
        parents = self._parents.known(chosen, history.digests)
        if training.start == "soup":
            parents = self._parents.at_hand(parents)
        return StartPoint(
            base=model.base,
            base_revision=model.base_revision,
            base_digest=self._machine.base_digest,
            parents=parents,
        )

    def _drawn(self, earlier: Mapping[str, ClosedWindow], wanted: int, seed: int) -> dict[str, tuple[int, ...]]:
        training = self._settings.training
        policy = build_policy(training.replay, training.seed)
        drawn: dict[str, tuple[int, ...]] = {}
        for window_id, count in replay_quotas(earlier, policy, wanted, seed).items():
            try:
                drawn[window_id] = policy.draw(window_id, self._earlier_rows(earlier[window_id].snapshot), count, seed)
            except SnapshotError as error:
                # An old window that was lost must not stop all learning for ever; the plan shows that it is not in.
                log.error("window_not_replayed", window_id=window_id, error=str(error))
        return drawn

    def _earlier_rows(self, snapshot: Snapshot) -> list[EarlierRow]:
        columns = self._archive.columns(snapshot, ("offset", "label", "side")).to_pydict()
        rows = zip(columns["offset"], columns["label"], columns["side"], strict=True)
        return [EarlierRow(offset, label) for offset, label, side in rows if side == Side.TRAIN.value]

    def _write_rows(self, run: RunFolder, plan: Plan) -> None:
        rows = {side: list[TrainingRow]() for side in (Side.TRAIN, Side.CALIBRATION, Side.VALIDATION)}
        for window in plan.windows:
            _sort(window.window_id, self._archive.read(window.snapshot), rows)
        for replayed in plan.replay:
            drawn, others = frozenset(replayed.offsets), (Side.CALIBRATION, Side.VALIDATION)
            kept = (
                row
                for row in self._archive.read(replayed.snapshot)
                if row.side in others or (row.side == Side.TRAIN and row.offset in drawn)
            )
            _sort(replayed.window_id, kept, rows)
        for side, content in rows.items():
            run.write_rows(side.value, content)


def _sort(window_id: str, rows: Iterable[WindowRow], into: Mapping[Side, list[TrainingRow]]) -> None:
    """Adds the rows to their side; held-out ones have none here and are never written for the job."""
    for row in rows:
        if row.side in into:
            into[row.side].append(
                TrainingRow(window_id=window_id, offset=row.offset, text=row.text, label=row.label, source=row.source)
            )
