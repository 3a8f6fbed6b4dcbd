"""What one domain adaptation is to do, written down before it starts. Pure."""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from pydantic import Field, NonNegativeInt, PositiveInt

from services.retrainer.plan import (
    DecisionWait,
    Hardware,
    LearningPlan,
    NewWindow,
    Plan,
    StartPoint,
    plan_seed,
    replayed,
)
from services.retrainer.replay import even_shares
from shared.events import ClosedWindow, Side, UnlabeledWindow
from shared.settings import Settings
from shared.training_settings import AdaptationSettings, LabelQualitySettings, TrainingSettings


class TextWindow(NewWindow):
    """A window of unlabelled text that is learned; its rows may all have been held out."""

    train_rows: NonNegativeInt


class ProbeWindow(NewWindow):
    """A window of labelled reviews, some of which both bases are fine-tuned on."""

    train_rows: PositiveInt = Field(description="Those drawn.")
    offsets: tuple[NonNegativeInt, ...] = Field(min_length=1, description="Those drawn, in `reviews.curated`.")


class AdaptationPlan(LearningPlan):
    """The training of a base on windows of unlabelled text, and the fine-tuning that says what it is good for."""

    windows: tuple[TextWindow, ...] = Field(min_length=1, description="Oldest first; the last one names the run.")
    probe: tuple[ProbeWindow, ...] = Field(min_length=1, description="Oldest first.")
    adaptation: AdaptationSettings

    @property
    def probe_window_ids(self) -> tuple[str, ...]:
        """Windows whose labels both bases are fine-tuned on."""
        return tuple(window.window_id for window in self.probe)

    @property
    def probe_rows(self) -> int:
        """Labelled rows of a fine-tuning."""
        return sum(window.train_rows for window in self.probe)

    def of_head(self) -> TrainingSettings:
        """How a fresh head is trained, before anything else."""
        chosen = self.adaptation
        return _alone(self.training, epochs=chosen.head_epochs, learning_rate=chosen.head_learning_rate)

    def of_body(self) -> TrainingSettings:
        """How the base is adapted."""
        return _alone(self.training, epochs=self.adaptation.epochs, learning_rate=self.adaptation.learning_rate)

    def of_probe(self, base_digest: str) -> Plan:
        """The fine-tuning of one of the bases: the same for either."""
        return Plan(
            windows=tuple(NewWindow(**window.model_dump(exclude={"offsets"})) for window in self.probe),
            start=StartPoint(base=self.start.base, base_digest=base_digest),
            training=_alone(self.training, label_quality=LabelQualitySettings(enabled=False)),
            hardware=self.hardware,
            seed=self.seed,
            labels=self.labels,
            split=self.split,
            newest_published_at=self.newest_published_at,
            code_version=self.code_version,
            planned_at=self.planned_at,
        )


def _alone(training: TrainingSettings, **changes: object) -> TrainingSettings:
    """In one process: an adaptation is several trainings in a row, between which all but one would wait."""
    return training.model_copy(update={"processes": 1, **changes})


def text_quotas(
    windows: Sequence[UnlabeledWindow],
    earlier: Mapping[str, UnlabeledWindow],
    unsettled: Collection[str],
    adaptation: AdaptationSettings,
    chance: random.Random,
) -> dict[str, int]:
    """Rows to learn again, by id of an earlier window.

    Unsettled windows give all they have, up to the setting's bound; the others the setting's share of the new rows.
    """
    new = sum(window.sides.get(Side.TRAIN, 0) for window in windows)
    rows = {window_id: window.sides.get(Side.TRAIN, 0) for window_id, window in earlier.items()}
    again = {window_id: count for window_id, count in rows.items() if window_id in unsettled}
    others = {window_id: count for window_id, count in rows.items() if window_id not in unsettled}
    replay = even_shares(others, round(adaptation.replay_share * new), chance)
    return replay | even_shares(again, adaptation.unsettled_rows, chance)


def make_adaptation_plan(
    windows: Sequence[UnlabeledWindow],
    replay: Mapping[str, tuple[int, ...]],
    earlier: Mapping[str, UnlabeledWindow],
    probe: Sequence[tuple[ClosedWindow, tuple[int, ...]]],
    *,
    start: StartPoint,
    settings: Settings,
    hardware: Hardware,
    decision_wait: DecisionWait,
    code_version: str,
    now: datetime,
) -> AdaptationPlan:
    """Writes down one adaptation to all training rows of `windows`.

    Args:
        windows: At least one, oldest first.
        replay: Window id -> offsets to learn again; each id is one of `earlier`.
        probe: Labelled windows, oldest first, with the offsets to fine-tune on.
    """
    newest = windows[-1]
    return AdaptationPlan(
        windows=tuple(TextWindow(**_facts(window), train_rows=window.sides.get(Side.TRAIN, 0)) for window in windows),
        replay=replayed(replay, earlier),
        probe=tuple(
            ProbeWindow(**_facts(window), train_rows=len(offsets), offsets=offsets) for window, offsets in probe
        ),
        start=start,
        adaptation=settings.adaptation,
        training=settings.training,
        hardware=hardware,
        seed=plan_seed(settings.training.seed, newest.sequence),
        labels=probe[-1][0].label_names,
        split=newest.split,
        newest_published_at=max(window.last_published_at for window in windows),
        decision_wait=decision_wait,
        code_version=code_version,
        planned_at=now,
    )


def _facts(window: ClosedWindow | UnlabeledWindow) -> dict[str, object]:
    return {
        name: getattr(window, name) for name in ("window_id", "sequence", "first_offset", "last_offset", "snapshot")
    }
