"""What one training of a backtest learns, and the name of its content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.control.backtest.recording import Era
from services.retrainer.plan import plan_seed, wanted_replay
from services.retrainer.replay import EarlierRow, build_policy, eligible, replay_quotas
from services.retrainer.runs import TrainingRow
from shared.archive import WindowRow
from shared.events import ClosedWindow, Side
from shared.training_settings import TrainingSettings

# These say from where, when and how often something is tried, not what comes of it.
WITHOUT_EFFECT = frozenset(
    {
        "start",
        "chain_floor",
        "soup_versions",
        "backlog",
        "label_quality",
        "attempts",
        "decision_wait_seconds",
        "timeout_seconds",
        "log_steps",
    }
)


@dataclass(frozen=True)
class Lesson:
    """One training: a window's rows, those learned again, and how."""

    window: ClosedWindow
    replay: Mapping[str, tuple[int, ...]]
    earlier: Mapping[str, ClosedWindow]
    rows: Mapping[Side, tuple[TrainingRow, ...]]
    training: TrainingSettings

    @property
    def seed(self) -> int:
        """The one that the retrainer would take."""
        return plan_seed(self.training.seed, self.window.sequence)

    def content(self, parents: Sequence[str]) -> str:
        """SHA-256, in hex, of everything that the result depends on; `parents` are the contents of the start."""
        rows = {side.value: [(row.text, row.label) for row in content] for side, content in self.rows.items()}
        settings = self.training.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
        facts = [list(parents), self.seed, self.window.label_names, settings, rows]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_lesson(era: Era, before: Sequence[Era], quarantined: frozenset[str], training: TrainingSettings) -> Lesson:
    """The retrainer's plan for a window: all its training rows, and the share of earlier ones that the policy draws."""
    rows_of = {earlier.window.window_id: earlier for earlier in before}
    earlier = eligible((each.window for each in before), era.window.sequence, quarantined)
    seed, policy = plan_seed(training.seed, era.window.sequence), build_policy(training.replay, training.seed)
    quotas = replay_quotas(earlier, policy, wanted_replay([era.window], training), seed)
    replay = {
        window_id: policy.draw(window_id, _drawable(rows_of[window_id]), count, seed)
        for window_id, count in quotas.items()
    }
    sides = {
        side: tuple(
            TrainingRow(window_id=window_id, offset=row.offset, text=row.text, label=row.label)
            for window_id, row in _rows(era, {window_id: rows_of[window_id] for window_id in replay}, replay, side)
        )
        for side in (Side.TRAIN, Side.CALIBRATION, Side.VALIDATION)
    }
    return Lesson(era.window, replay, earlier, sides, training)


def _drawable(era: Era) -> list[EarlierRow]:
    return [EarlierRow(row.offset, row.label) for row in era.of(Side.TRAIN)]


def _rows(
    era: Era, replayed: Mapping[str, Era], drawn: Mapping[str, tuple[int, ...]], side: Side
) -> list[tuple[str, WindowRow]]:
    found = [(era.window.window_id, row) for row in era.of(side)]
    for window_id, earlier in replayed.items():
        offsets = frozenset(drawn[window_id])
        found += [(window_id, row) for row in earlier.of(side) if side is not Side.TRAIN or row.offset in offsets]
    return found
