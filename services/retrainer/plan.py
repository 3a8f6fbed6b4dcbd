"""What one training is to do, written down before it starts and complete enough to do it again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from shared.events import ClosedWindow, Sha256, Side, Snapshot, SplitRecord, UnlabeledWindow
from shared.training_settings import HardReplaySettings, TrainingSettings


class PlanPart(BaseModel):
    """What every part of a plan shares: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ParentVersion(PlanPart):
    """A registered version, named so that no other can stand in for it."""

    version: str
    digest: Sha256 = Field(description="Of the version's files.")


class StartPoint(PlanPart):
    """The weights that training starts from."""

    base: str = Field(description="Name of the base model, also when a version that grew from it is the start.")
    base_revision: str | None = None
    base_digest: Sha256
    base_version: str | None = Field(
        None, description="Adapted base in its place: of the line that the parents come from, or, without any, opened."
    )
    base_version_digest: Sha256 | None = Field(None, description="Of its files, where it is opened.")
    parents: tuple[ParentVersion, ...] = Field(
        (), description="Versions to start from; none: the base itself; several: the average of their weights."
    )

    @property
    def version(self) -> str | None:
        """The first parent, if there is one."""
        return self.parents[0].version if self.parents else None

    @property
    def adapted_base(self) -> ParentVersion | None:
        """The version of the base that is opened in place of the configured one, if it is."""
        if self.base_version is None or self.base_version_digest is None:
            return None
        return ParentVersion(version=self.base_version, digest=self.base_version_digest)

    @property
    def averaged(self) -> tuple[str, ...]:
        """All parents, if there are several."""
        return tuple(parent.version for parent in self.parents) if len(self.parents) > 1 else ()


class NewWindow(PlanPart):
    """A window whose training rows are all learned."""

    window_id: str
    sequence: NonNegativeInt
    first_offset: NonNegativeInt
    last_offset: NonNegativeInt
    snapshot: Snapshot
    train_rows: PositiveInt


class ReplayedWindow(PlanPart):
    """An earlier window of which some training rows are learned again."""

    window_id: str
    snapshot: Snapshot
    offsets: tuple[NonNegativeInt, ...] = Field(min_length=1, description="The rows drawn, in the window's topic.")


class DecisionWait(PlanPart):
    """How long planning waited for the gate to decide on the candidate before this one."""

    window_id: str | None = Field(None, description="The window waited for; null: there was none.")
    seconds: float = Field(0.0, ge=0)
    decided: bool = Field(True, description="False: training went ahead without that decision.")


class RebuiltVersion(PlanPart):
    """Whose history is trained again, by an operator's order."""

    version: str
    name: str = Field(description="Of the run and its candidate, in place of the newest window's id.")


class Hardware(PlanPart):
    """What the training computes on."""

    device: str
    precision: Literal["fp32", "bf16"]


class LearningPlan(PlanPart):
    """What every training has: data, start, settings and seed."""

    plan_version: Literal[1] = 1
    windows: tuple[NewWindow, ...] = Field(min_length=1, description="Oldest first; the last one names the run.")
    replay: tuple[ReplayedWindow, ...] = ()
    start: StartPoint
    training: TrainingSettings
    hardware: Hardware
    seed: NonNegativeInt = Field(description="Of the training itself: settings' seed and window's sequence as one.")
    labels: tuple[str, ...] = Field(min_length=2)
    split: SplitRecord
    newest_published_at: datetime = Field(description="Of the newest review in the new windows.")
    decision_wait: DecisionWait = DecisionWait()
    code_version: str
    planned_at: datetime

    @property
    def window_id(self) -> str:
        """The run's name: the newest window."""
        return self.windows[-1].window_id

    @property
    def window_ids(self) -> tuple[str, ...]:
        """All windows of new rows, the newest last."""
        return tuple(window.window_id for window in self.windows)

    @property
    def replay_window_ids(self) -> tuple[str, ...]:
        """All windows that give rows again."""
        return tuple(window.window_id for window in self.replay)

    @property
    def new_rows(self) -> int:
        """Rows that no model has learned yet."""
        return sum(window.train_rows for window in self.windows)

    @property
    def replay_rows(self) -> int:
        """Rows that are learned again."""
        return sum(len(window.offsets) for window in self.replay)

    def sha256(self) -> str:
        """Digest of the plan as canonical JSON."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class Plan(LearningPlan):
    """The training of a classifier on windows of labelled reviews."""

    replay_kept: NonNegativeInt | None = Field(
        None, description="Rows of `replay` that the job keeps by the start model's loss; null: all. Which: its result."
    )
    rebuild: RebuiltVersion | None = Field(None, description="Null: the windows are new.")
    without: tuple[str, ...] = Field(
        (), description="Left out of every window of a rebuild; of any other plan, out of what is learned again."
    )

    @property
    def window_id(self) -> str:
        """The run's name: the newest window, or the rebuild's own."""
        return self.rebuild.name if self.rebuild else super().window_id

    @property
    def replay_rows(self) -> int:
        """Rows that are learned again."""
        drawn = super().replay_rows
        return drawn if self.replay_kept is None else min(drawn, self.replay_kept)


def plan_seed(seed: int, sequence: int) -> int:
    """A seed of its own for each window, below 2^32, the most that NumPy takes."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{sequence}".encode()).digest()[:4], "big")


def wanted_replay(windows: Sequence[ClosedWindow], training: TrainingSettings) -> int:
    """Rows to learn again: the settings' share of the new ones, rounded."""
    return round(training.replay_share * sum(window.sides.get(Side.TRAIN, 0) for window in windows))


def make_plan(
    windows: Sequence[ClosedWindow],
    replay: Mapping[str, tuple[int, ...]],
    earlier: Mapping[str, ClosedWindow],
    *,
    wanted: int | None = None,
    without: tuple[str, ...] = (),
    start: StartPoint,
    training: TrainingSettings,
    hardware: Hardware,
    decision_wait: DecisionWait,
    code_version: str,
    now: datetime,
) -> Plan:
    """Writes down one training on all training rows of `windows`.

    Args:
        windows: At least one, oldest first.
        replay: Window id -> offsets to learn again; each id is one of `earlier`.
        wanted: Rows to learn again; None: the settings' share of the new ones.
        without: What none of those offsets may be.
    """
    newest = windows[-1]
    kept = wanted_replay(windows, training) if wanted is None else wanted
    return Plan(
        windows=tuple(_new(window) for window in windows),
        replay=replayed(replay, earlier),
        replay_kept=kept if isinstance(training.replay, HardReplaySettings) else None,
        without=without,
        start=start,
        training=training,
        hardware=hardware,
        seed=plan_seed(training.seed, newest.sequence),
        labels=newest.label_names,
        split=newest.split,
        newest_published_at=max(window.last_published_at for window in windows),
        decision_wait=decision_wait,
        code_version=code_version,
        planned_at=now,
    )


def replayed(
    drawn: Mapping[str, tuple[int, ...]], windows: Mapping[str, ClosedWindow] | Mapping[str, UnlabeledWindow]
) -> tuple[ReplayedWindow, ...]:
    """Window id -> offsets, as a plan keeps them."""
    return tuple(
        ReplayedWindow(window_id=window_id, snapshot=windows[window_id].snapshot, offsets=offsets)
        for window_id, offsets in drawn.items()
    )


def _new(window: ClosedWindow) -> NewWindow:
    return NewWindow(
        window_id=window.window_id,
        sequence=window.sequence,
        first_offset=window.first_offset,
        last_offset=window.last_offset,
        snapshot=window.snapshot,
        train_rows=window.sides.get(Side.TRAIN, 0),
    )
