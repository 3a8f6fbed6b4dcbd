"""Makes a run ready for its job: the plan if there is none, the rows, and the weights to start from."""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from services.retrainer.history import History
from services.retrainer.machine import Machine
from services.retrainer.parents import BASES, Parents
from services.retrainer.plan import (
    DecisionWait,
    ParentVersion,
    Plan,
    RebuiltVersion,
    StartPoint,
    make_plan,
    plan_seed,
    wanted_replay,
)
from services.retrainer.rebuild import COLUMNS, Rebuild, Share, objection_to, share_of
from services.retrainer.replay import EarlierRow, build_policy, eligible, replay_quotas
from services.retrainer.runs import JobSetup, RunFolder, Runs, TrainingRow
from services.retrainer.start import choose_start, of_one_base, restarts
from shared.archive import Archive, WindowRow
from shared.errors import RecordError, SnapshotError
from shared.events import ClosedWindow, Side, Snapshot, utc_now
from shared.lineage import code_version
from shared.rebuilds import LeftOut
from shared.registry import Registry
from shared.settings import Settings

log = structlog.get_logger("retrainer")


class Preparation:
    """Turns windows into a run folder that the job can work on. Doing it again changes nothing."""

    def __init__(
        self, settings: Settings, archive: Archive, registry: Registry, bases: Registry, machine: Machine
    ) -> None:
        """Args: bases: the registry, speaking of the base."""
        self._settings, self._archive, self._machine = settings, archive, machine
        self._parents, self._bases = Parents(registry, settings.home), Parents(bases, settings.home, BASES)
        self._runs = Runs(settings.home, settings.stream, RunFolder)

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

    def prepare_rebuild(self, rebuild: Rebuild, history: History) -> RunFolder:
        """The same for an order to rebuild: from the base in use.

        Raises:
            RecordError: Nothing would be left out, or too little left; or as `prepare` does.
        """
        run = self._runs.folder(rebuild.name)
        plan = run.plan() or self._planned_rebuild(run, rebuild, history)
        if run.result() is None:
            self.furnish(run, plan)
        return run

    def furnish(self, run: RunFolder, plan: Plan) -> None:
        """Gives a run what its job works on: the plan's rows and weights. Raises as `prepare` does."""
        self._write_rows(run, plan)
        adapted = plan.start.adapted_base
        base = self._bases.folders([adapted])[0] if adapted else self._machine.base_folder
        folders = self._parents.folders(plan.start.parents) or (base,)
        setup = JobSetup(start_folders=folders, threads=self._settings.model.threads)
        run.write(run.setup_file, setup)

    def _planned(self, run: RunFolder, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> Plan:
        earlier = eligible(history.windows.values(), windows[0].sequence, history.quarantined())
        training, start, restarted = self._settings.training, *self._start(history)
        wanted = wanted_replay(windows, training)
        if restarted:
            wanted = max(wanted, self._settings.adaptation.restart_rows)
        without = history.left_out(filter(None, (history.champion, *(parent.version for parent in start.parents))))
        seed = plan_seed(training.seed, windows[-1].sequence)
        plan = make_plan(
            windows,
            self._drawn(earlier, LeftOut.of(without), wanted, seed),
            earlier,
            wanted=wanted,
            without=without,
            start=start,
            training=training,
            hardware=self._machine.hardware,
            decision_wait=wait,
            code_version=code_version(),
            now=utc_now(),
        )
        return _written(run, plan)

    def _planned_rebuild(self, run: RunFolder, rebuild: Rebuild, history: History) -> Plan:
        shares = [share_of(rebuild, window, self._counted_rows(window.snapshot)) for window in rebuild.windows]
        if (objection := objection_to(rebuild, shares)) is not None:
            raise RecordError(objection)
        plan = make_plan(
            [share.window for share in shares if share.learned],
            {},
            {},
            without=rebuild.without,
            start=self._from_base(history),
            training=self._settings.training,
            hardware=self._machine.hardware,
            decision_wait=DecisionWait(),
            code_version=code_version(),
            now=utc_now(),
        )
        return _written(run, rebuilt(plan, rebuild, shares))

    def _counted_rows(self, snapshot: Snapshot) -> Iterable[tuple[int, int, str, str | None]]:
        columns = self._archive.columns(snapshot, COLUMNS).to_pydict()
        return zip(*(columns[name] for name in COLUMNS), strict=True)

    def _start(self, history: History) -> tuple[StartPoint, bool]:
        """And whether it leaves the models that learned so far, for a base accepted since."""
        training, accepted = self._settings.training, history.bases.accepted(self._machine.base_digest)
        version = accepted.version if accepted else None
        if restarts(training, self._settings.adaptation, version, history.begun_bases()):
            start = self._from_base(history)
            if start.adapted_base is not None:
                return start, True
        parents = self._parents_of(history)
        if not parents:
            return self._from_base(history), False
        began_with = history.bases_of([parents[0].version])[parents[0].version]
        return self._configured_base().model_copy(update={"parents": parents, "base_version": began_with}), False

    def _parents_of(self, history: History) -> tuple[ParentVersion, ...]:
        training = self._settings.training
        chosen = choose_start(training, history.champion, history.waiting, history.promoted)
        if training.start != "soup":
            return self._parents.known(chosen, history.digests)
        return self._parents.at_hand(
            self._parents.known(of_one_base(chosen, history.bases_of(chosen)), history.digests)
        )

    def _from_base(self, history: History) -> StartPoint:
        """The adapted base in use; the configured one if there is none, or its files cannot be had."""
        start, accepted = self._configured_base(), history.bases.accepted(self._machine.base_digest)
        if accepted is None:
            return start
        found = self._bases.at_hand([ParentVersion(version=accepted.version, digest=accepted.digest)])
        update = {"base_version": found[0].version, "base_version_digest": found[0].digest} if found else {}
        return start.model_copy(update=update)

    def _configured_base(self) -> StartPoint:
        model = self._settings.model
        return StartPoint(base=model.base, base_revision=model.base_revision, base_digest=self._machine.base_digest)

    def _drawn(
        self, earlier: Mapping[str, ClosedWindow], without: LeftOut, wanted: int, seed: int
    ) -> dict[str, tuple[int, ...]]:
        training = self._settings.training
        policy = build_policy(training.replay, training.seed)
        drawn: dict[str, tuple[int, ...]] = {}
        for window_id, count in replay_quotas(earlier, policy, wanted, seed).items():
            try:
                rows = self._earlier_rows(earlier[window_id].snapshot, without)
                # The quotas come from manifests, which do not know what is left out.
                if offsets := policy.draw(window_id, rows, count, seed):
                    drawn[window_id] = offsets
            except SnapshotError as error:
                # An old window that was lost must not stop all learning for ever; the plan shows that it is not in.
                log.error("window_not_replayed", window_id=window_id, error=str(error))
        return drawn

    def _earlier_rows(self, snapshot: Snapshot, without: LeftOut) -> list[EarlierRow]:
        return [
            EarlierRow(offset, label)
            for offset, label, side, source in self._counted_rows(snapshot)
            if side == Side.TRAIN.value and (offset, source) not in without
        ]

    def _write_rows(self, run: RunFolder, plan: Plan) -> None:
        rows = {side: list[TrainingRow]() for side in (Side.TRAIN, Side.CALIBRATION, Side.VALIDATION)}
        without = LeftOut.of(plan.without)
        for window in plan.windows:
            read = self._archive.read(window.snapshot)
            # What a line was rebuilt without concerns what came before, not what a window brings.
            _sort(window.window_id, _left(read, without) if plan.rebuild else read, rows)
        for replayed in plan.replay:
            drawn, others = frozenset(replayed.offsets), (Side.CALIBRATION, Side.VALIDATION)
            kept = (
                row
                for row in _left(self._archive.read(replayed.snapshot), without)
                if row.side in others or (row.side == Side.TRAIN and row.offset in drawn)
            )
            _sort(replayed.window_id, kept, rows)
        for side, content in rows.items():
            run.write_rows(side.value, content)


def rebuilt(plan: Plan, rebuild: Rebuild, shares: Iterable[Share]) -> Plan:
    """The plan of a rebuild: named after its order, learning of each window what is left of it, and nothing again."""
    left = {share.window.window_id: share.learned.total() for share in shares}
    windows = tuple(window.model_copy(update={"train_rows": left[window.window_id]}) for window in plan.windows)
    named = RebuiltVersion(version=str(rebuild.version), name=rebuild.name)
    return plan.model_copy(update={"windows": windows, "rebuild": named, "replay_kept": None})


def _written(run: RunFolder, plan: Plan) -> Plan:
    run.write(run.plan_file, plan)
    log.info("planned", window_id=plan.window_id, new_rows=plan.new_rows, replay_rows=plan.replay_rows)
    return plan


def _left(rows: Iterable[WindowRow], without: LeftOut) -> list[WindowRow]:
    return [row for row in rows if (row.offset, row.source) not in without]


def _sort(window_id: str, rows: Iterable[WindowRow], into: Mapping[Side, list[TrainingRow]]) -> None:
    """Adds the rows to their side; held-out ones have none here and are never written for the job."""
    for row in rows:
        if row.side in into:
            into[row.side].append(
                TrainingRow(window_id=window_id, offset=row.offset, text=row.text, label=row.label, source=row.source)
            )
