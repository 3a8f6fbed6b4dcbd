"""Makes an adaptation ready for its job: the plan if there is none, the texts, the labelled rows, the base."""

import random
from collections.abc import Iterable, Mapping, Sequence

import structlog

from services.retrainer.adaptation.folder import PROBE, TRAIN, VALIDATION, AdaptationFolder, TextRow
from services.retrainer.adaptation.plan import AdaptationPlan, TextWindow, make_adaptation_plan, text_quotas
from services.retrainer.adaptation.selection import newest_offsets, probe_windows
from services.retrainer.history import History
from services.retrainer.machine import Machine
from services.retrainer.parents import ADAPTED_FROM, Parents
from services.retrainer.plan import DecisionWait, ParentVersion, ReplayedWindow, StartPoint, plan_seed
from services.retrainer.replay import sample
from services.retrainer.runs import JobSetup, Runs, TrainingRow
from shared.archive import Archive
from shared.errors import SnapshotError
from shared.events import ClosedWindow, Side, Snapshot, UnlabeledWindow, utc_now
from shared.lineage import code_version
from shared.rebuilds import LeftOut
from shared.registry import Registry
from shared.settings import Settings

log = structlog.get_logger("retrainer")


class AdaptationPreparation:
    """Turns windows of unlabelled text into a run folder that the job can work on. Doing it again changes nothing."""

    def __init__(self, settings: Settings, archive: Archive, bases: Registry, machine: Machine) -> None:
        self._settings, self._archive, self._machine = settings, archive, machine
        self._parents = Parents(bases, settings.home, ADAPTED_FROM)
        self._runs = Runs(settings.home, settings.stream, AdaptationFolder)

    def prepare(self, windows: Sequence[UnlabeledWindow], history: History, wait: DecisionWait) -> AdaptationFolder:
        """A plan that is there is kept: what was begun with it must be finished with it.

        Raises:
            SnapshotError: A window's texts, or all labelled rows, are missing or altered.
            ModelError: The version that was planned to start from cannot be had any more.
            ArchiveUnavailableError, RegistryUnavailableError: Try again later.
        """
        run = self._runs.of(windows)
        plan = run.plan()
        if plan is not None and plan.start.base_digest != self._machine.base_digest:
            self._runs.set_aside(run, "the configured base is another now")
            plan = None
        plan = plan or self._planned(run, windows, history, wait)
        if not run.is_finished():
            self._furnish(run, plan)
        return run

    def _planned(
        self, run: AdaptationFolder, windows: Sequence[UnlabeledWindow], history: History, wait: DecisionWait
    ) -> AdaptationPlan:
        earlier = history.bases.earlier_than(windows[0])
        seed = plan_seed(self._settings.training.seed, windows[-1].sequence)
        unsettled = {window.window_id for window in history.bases.unsettled(self._machine.base_digest)}
        chance = random.Random(f"{seed}:quotas")
        quotas = text_quotas(windows, earlier, unsettled, self._settings.adaptation, chance)
        plan = make_adaptation_plan(
            windows,
            self._drawn(earlier, quotas, seed),
            earlier,
            self._probe(history),
            start=self._start(history),
            settings=self._settings,
            hardware=self._machine.hardware,
            decision_wait=wait,
            code_version=code_version(),
            now=utc_now(),
        )
        run.write(run.plan_file, plan)
        log.info("adaptation_planned", window_id=plan.window_id, new_rows=plan.new_rows, replay_rows=plan.replay_rows)
        return plan

    def _start(self, history: History) -> StartPoint:
        model, root = self._settings.model, self._machine.base_digest
        parent = history.bases.accepted(root)
        named = [ParentVersion(version=parent.version, digest=parent.digest)] if parent else []
        return StartPoint(
            base=model.base,
            base_revision=model.base_revision,
            base_digest=root,
            parents=self._parents.at_hand(named),
        )

    def _drawn(
        self, earlier: Mapping[str, UnlabeledWindow], quotas: Mapping[str, int], seed: int
    ) -> dict[str, tuple[int, ...]]:
        drawn: dict[str, tuple[int, ...]] = {}
        for window_id, count in quotas.items():
            rows = self._rows_of(window_id, earlier[window_id].snapshot)
            if offsets := sample(window_id, [offset for offset, side, _ in rows if side is Side.TRAIN], count, seed):
                drawn[window_id] = offsets
        return drawn

    def _probe(self, history: History) -> list[tuple[ClosedWindow, tuple[int, ...]]]:
        """The newest labelled rows, but none that the champion's line was rebuilt without."""
        without = LeftOut.of(history.left_out(filter(None, [history.champion])))
        probe: list[tuple[ClosedWindow, tuple[int, ...]]] = []
        wanted = self._settings.adaptation.probe_rows
        for window in probe_windows(history):
            rows = self._rows_of(window.window_id, window.snapshot)
            kept = [(offset, side) for offset, side, source in rows if (offset, source) not in without]
            if offsets := newest_offsets(kept, wanted):
                probe.append((window, offsets))
                wanted -= len(offsets)
            if wanted == 0:
                break
        if not probe:
            raise SnapshotError("of no labelled window the rows can be read that both bases would be fine-tuned on")
        return probe[::-1]

    def _rows_of(self, window_id: str, snapshot: Snapshot) -> list[tuple[int, Side, str | None]]:
        """Offset, side and source of a window's rows; none if they are lost, which must not stop all learning."""
        try:
            columns = self._archive.columns(snapshot, ("offset", "side", "source")).to_pydict()
        except SnapshotError as error:
            log.error("window_left_out", window_id=window_id, error=str(error))
            return []
        sides = map(Side, columns["side"])
        return list(zip(columns["offset"], sides, columns["source"], strict=True))

    def _furnish(self, run: AdaptationFolder, plan: AdaptationPlan) -> None:
        self._write_texts(run, plan)
        run.write_rows(PROBE, list(self._probe_rows(plan)))
        folders = self._parents.folders(plan.start.parents) or (self._machine.base_folder,)
        run.write(run.setup_file, JobSetup(start_folders=folders, threads=self._settings.model.threads))

    def _write_texts(self, run: AdaptationFolder, plan: AdaptationPlan) -> None:
        rows: dict[Side, list[TextRow]] = {Side.TRAIN: [], Side.VALIDATION: []}
        chosen: list[tuple[TextWindow | ReplayedWindow, frozenset[int] | None]] = [
            *((window, None) for window in plan.windows),
            *((window, frozenset(window.offsets)) for window in plan.replay),
        ]
        for window, drawn in chosen:
            for row in self._archive.read_unlabeled(window.snapshot):
                if row.side in rows and (row.side is Side.VALIDATION or drawn is None or row.offset in drawn):
                    rows[row.side].append(TextRow(window_id=window.window_id, offset=row.offset, text=row.text))
        run.write_rows(TRAIN, rows[Side.TRAIN])
        run.write_rows(VALIDATION, rows[Side.VALIDATION])

    def _probe_rows(self, plan: AdaptationPlan) -> Iterable[TrainingRow]:
        for window in plan.probe:
            drawn = frozenset(window.offsets)
            for row in self._archive.read(window.snapshot):
                if row.offset in drawn:
                    yield TrainingRow(
                        window_id=window.window_id, offset=row.offset, text=row.text, label=row.label, source=row.source
                    )
