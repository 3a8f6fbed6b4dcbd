"""When a window closes, and when it waits."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.triggers import Closing, Triggers, WindowCounts, build, not_trainable_because
from shared.events import Trigger
from shared.settings import (
    AgeTriggerSettings,
    CountTriggerSettings,
    PerClassTriggerSettings,
    TriggerSettings,
    WindowSettings,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def counts(reviews: int = 100, kept: int | None = None, training: tuple[int, ...] = (30, 30)) -> WindowCounts:
    return WindowCounts(reviews, reviews if kept is None else kept, training, NOON if reviews else None)


def look(window: WindowCounts, *triggers: TriggerSettings, seconds: float = 0.0, **limits: float) -> Closing | None:
    settings = WindowSettings.model_validate({"triggers": triggers or (CountTriggerSettings(),), **limits})
    return Triggers(settings).look(window, NOON + timedelta(seconds=seconds))


def trigger(closing: Closing | None) -> Trigger | None:
    return closing.trigger if closing else None


def test_count_looks_at_kept_rows() -> None:
    rule = CountTriggerSettings(rows=100)
    assert look(counts(150, kept=99), rule) is None
    assert look(counts(150, kept=100), rule) == Closing(Trigger.COUNT, "100 kept rows of 100")


def test_age_looks_at_the_oldest_review() -> None:
    rule = AgeTriggerSettings(seconds=60)
    assert look(counts(), rule, seconds=59.9) is None
    assert trigger(look(counts(), rule, seconds=60)) is Trigger.AGE


def test_a_broker_clock_ahead_of_ours_makes_nobody_older() -> None:
    assert counts().age_seconds(NOON - timedelta(hours=1)) == 0


def test_per_class_looks_at_the_rarest_class() -> None:
    rule = PerClassTriggerSettings(rows=30)
    assert look(counts(training=(90, 29)), rule) is None
    assert trigger(look(counts(training=(30, 30)), rule)) is Trigger.PER_CLASS


def test_the_first_configured_trigger_that_fires_is_named() -> None:
    both = CountTriggerSettings(rows=1), AgeTriggerSettings(seconds=1)
    assert trigger(look(counts(), *both, seconds=5)) is Trigger.COUNT
    assert trigger(look(counts(), *reversed(both), seconds=5)) is Trigger.AGE


@pytest.mark.parametrize("training", [(10, 10), (60, 0), (0, 60)])
def test_a_window_that_teaches_nothing_waits(training: tuple[int, int]) -> None:
    window = counts(training=training)
    assert look(window, CountTriggerSettings(rows=100)) is None
    assert look(window, AgeTriggerSettings(seconds=1), seconds=3600) is None


def test_but_not_for_ever() -> None:
    one_class = counts(500, training=(500, 0))
    assert trigger(look(one_class, max_rows=500)) is Trigger.MAX_ROWS
    assert trigger(look(one_class, max_age_seconds=60, seconds=60)) is Trigger.AGE


def test_an_empty_window_never_closes() -> None:
    assert look(counts(0, training=(0, 0)), AgeTriggerSettings(seconds=1), seconds=1e9) is None


def test_trainable_means_enough_rows_of_two_classes() -> None:
    assert not_trainable_because(counts(training=(49, 1)), 50) is None
    assert not_trainable_because(counts(training=(48, 1)), 50) == "49 training rows, fewer than 50"
    assert not_trainable_because(counts(training=(50, 0, 0)), 50) == "training rows of 1 class only"


def test_every_kind_of_settings_has_its_rule() -> None:
    kinds = get_args(get_args(TriggerSettings)[0])
    assert len({type(build(kind())) for kind in kinds}) == len(kinds) == 3


@given(
    reviews=st.integers(1, 10_000),
    share=st.floats(0, 1),
    training=st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)),
    seconds=st.floats(0, 1e7),
)
def test_no_window_outgrows_its_bounds(reviews: int, share: float, training: tuple[int, int], seconds: float) -> None:
    window = counts(reviews, int(reviews * share), training)
    closing = look(window, max_rows=5_000, max_age_seconds=1e6, seconds=seconds)
    assert closing or (reviews < 5_000 and seconds < 1e6)
