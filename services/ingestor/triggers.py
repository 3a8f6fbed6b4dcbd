"""When the open window closes: pure rules over its counts and the time; nothing here waits or reads a clock.

A window that nothing could be learned from (too few training rows, one class) waits, until it would be too large or too
old; one of unlabelled text has no classes to wait for. Drift has its name among the triggers; the monitor that sees it
closes the window by a command.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, assert_never

from shared.events import Trigger
from shared.settings import (
    AgeTriggerSettings,
    CountTriggerSettings,
    PerClassTriggerSettings,
    TriggerSettings,
    UnlabeledWindowSettings,
    WindowSettings,
)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """What the rules look at.

    Attributes:
        reviews: Reviews in the range, those set aside included.
        kept: Of these, not set aside; every side counts.
        training: Kept training rows by class id; every class has its place. Empty for unlabelled text.
        oldest_published_at: Broker time of the oldest review; None while the window is empty.
    """

    reviews: int
    kept: int
    training: tuple[int, ...]
    oldest_published_at: datetime | None

    def age_seconds(self, now: datetime | None) -> float:
        """Since the oldest review was published; 0 for an empty window or without a time, never negative."""
        if self.oldest_published_at is None or now is None:
            return 0.0
        return max(0.0, (now - self.oldest_published_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a window closes now. `detail` has what was seen and its limit."""

    trigger: Trigger
    detail: str


class Rule(Protocol):
    """One configured trigger."""

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        """The reason to close, if there is one."""


class CountTrigger:
    """Closes a window once it holds the configured number of kept rows."""

    def __init__(self, settings: CountTriggerSettings) -> None:
        self._rows = settings.rows

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        if counts.kept < self._rows:
            return None
        return Closing(Trigger.COUNT, f"{counts.kept} kept rows of {self._rows}")


class AgeTrigger:
    """Closes a window once its oldest review was published so long ago."""

    def __init__(self, settings: AgeTriggerSettings) -> None:
        self._seconds = settings.seconds

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        age = counts.age_seconds(now)
        if age < self._seconds:
            return None
        return Closing(Trigger.AGE, f"oldest review is {age:.1f} s old, of {self._seconds:.1f} s")


class SizeBound:
    """Closes a window once it holds as many reviews as any may, kept or not: it lies in memory, and its manifest lists
    what it set aside."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        if counts.reviews < self._rows:
            return None
        return Closing(Trigger.MAX_ROWS, f"{counts.reviews} reviews of at most {self._rows}")


class PerClassTrigger:
    """Closes a window once every class has the configured number of training rows."""

    def __init__(self, settings: PerClassTriggerSettings) -> None:
        self._rows = settings.rows

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        rarest = min(counts.training)
        if rarest < self._rows:
            return None
        return Closing(Trigger.PER_CLASS, f"{rarest} training rows of the rarest class, of {self._rows}")


def build(settings: TriggerSettings) -> Rule:
    """The rule for one entry of `ingestor.window.triggers`."""
    match settings:
        case CountTriggerSettings():
            return CountTrigger(settings)
        case AgeTriggerSettings():
            return AgeTrigger(settings)
        case PerClassTriggerSettings():
            return PerClassTrigger(settings)
        case _:
            assert_never(settings)


class Triggers:
    """All rules of a stream: the configured ones, and the bounds that hold for any window."""

    def __init__(self, settings: WindowSettings) -> None:
        self._settings = settings
        self._rules: Sequence[Rule] = [build(each) for each in settings.triggers]
        self._size = SizeBound(settings.max_rows)

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        """The first reason to close the window now, if any. An empty window never closes.

        Args:
            now: None while more reviews wait to be added: a backlog of old reviews is cut by count, not into crumbs
                that are each too old.
        """
        if counts.reviews == 0:
            return None
        fired = _first(self._rules, counts, now)
        if fired and not_trainable_because(counts, self._settings.min_rows) is None:
            return fired
        return self._bound(counts, now)

    def _bound(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        if closing := self._size.look(counts, now):
            return closing
        limit, age = self._settings.max_age_seconds, counts.age_seconds(now)
        if age >= limit:
            return Closing(Trigger.AGE, f"oldest review is {age:.1f} s old, of at most {limit:.1f} s")
        return None


class UnlabeledTriggers:
    """The rules for windows of unlabelled text."""

    def __init__(self, settings: UnlabeledWindowSettings) -> None:
        self._rules: Sequence[Rule] = (
            CountTrigger(CountTriggerSettings(rows=settings.rows)),
            SizeBound(settings.max_rows),
            AgeTrigger(AgeTriggerSettings(seconds=settings.max_age_seconds)),
        )

    def look(self, counts: WindowCounts, now: datetime | None) -> Closing | None:
        """As `Triggers.look`."""
        return _first(self._rules, counts, now) if counts.reviews else None


def _first(rules: Sequence[Rule], counts: WindowCounts, now: datetime | None) -> Closing | None:
    """What the first rule says that fires."""
    return next((closing for rule in rules if (closing := rule.look(counts, now))), None)


def not_trainable_because(counts: WindowCounts, min_rows: int) -> str | None:
    """Why nothing should be learned from these rows; None if something can be."""
    rows, classes = sum(counts.training), sum(1 for number in counts.training if number)
    if rows < min_rows:
        return f"{rows} training rows, fewer than {min_rows}"
    if classes < 2:
        return f"training rows of {classes} class only"
    return None
