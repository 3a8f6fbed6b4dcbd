"""A stream of real reviews that changes its domain at once, again and again, with some windows of wrong labels.

The domains are cut into segments of a few windows, which come in any order: a domain is met, left, and perhaps met
again. Of each domain some rows are put aside before anything else; what they say about a model is the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bench.gate.reviews import Labelled
from services.control.backtest.recording import Era, Recording, cut
from services.ingestor.split import side_of
from shared.archive import WindowRow
from shared.errors import ConfigurationError
from shared.events import ClosedWindow, Snapshot, Trigger
from shared.settings import CountTriggerSettings, SplitSettings, WindowSettings
from shared.text import NORMALISER_VERSION, canonical

LABELS = ("negative", "positive")
SPLIT = SplitSettings().record(NORMALISER_VERSION)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How the stream is cut."""

    window_rows: int = 400
    segment_windows: int = 6
    """Of one domain in a row, at most."""
    most_windows: int = 150
    truth_share: float = 0.25
    most_truth_rows: int = 2_000
    """Of one domain."""
    flipped_share: float = 0.05
    """Windows all of whose labels are wrong, those of the held-out rows too."""

    def truth_rows(self, reviews: int) -> int:
        """Rows of a domain with so many reviews that are put aside."""
        return min(round(self.truth_share * reviews), self.most_truth_rows)


@dataclass(frozen=True)
class Stream:
    """One order of the domains.

    Attributes:
        eras: Its windows, with labels as published.
        domains: Per window, where it is from.
        labels: True ones, by offset.
        truth: Domain -> rows that no window has.
    """

    eras: tuple[Era, ...]
    domains: tuple[str, ...]
    flipped: frozenset[int]
    labels: Labels
    truth: Mapping[str, tuple[Labelled, ...]]

    def true_labels(self, place: int) -> Labels:
        """Of all rows of a window."""
        return self.labels[[row.offset for row in self.eras[place].rows]]

    def met(self, place: int) -> list[str]:
        """The domains up to this window, its own included, in the order of their first one."""
        return list(dict.fromkeys(self.domains[: place + 1]))


def make_stream(domains: Mapping[str, Sequence[Labelled]], settings: StreamSettings, seed: int) -> Stream:
    """The stream of this seed: its order of segments, its rows and its flipped windows.

    Raises:
        ConfigurationError: No domain has rows enough for a window.
    """
    chance = np.random.default_rng(seed)
    truth, rest = dict[str, tuple[Labelled, ...]](), dict[str, list[Labelled]]()
    for name, reviews in domains.items():
        shuffled = [reviews[place] for place in chance.permutation(len(reviews))]
        aside = settings.truth_rows(len(shuffled))
        truth[name], rest[name] = tuple(shuffled[:aside]), shuffled[aside:]
    order = _order({name: len(rows) // settings.window_rows for name, rows in rest.items()}, settings, chance)
    if not order:
        raise ConfigurationError(f"no domain fills a window of {settings.window_rows} reviews; take smaller windows")
    flipped = _flipped(len(order), settings, chance)
    rows = _rows(order, rest, flipped, settings.window_rows)
    eras = cut(Recording((_recorded(rows),), tuple(rows)), _closing(settings.window_rows))
    return Stream(
        eras=tuple(eras),
        domains=tuple(order[era.rows[-1].offset // settings.window_rows] for era in eras),
        flipped=flipped,
        labels=np.array([row.label ^ (row.offset // settings.window_rows in flipped) for row in rows], np.int64),
        truth={name: rows for name, rows in truth.items() if name in order},
    )


def _order(windows: Mapping[str, int], settings: StreamSettings, chance: np.random.Generator) -> list[str]:
    """Per window its domain. Where not all segments find a place, the first of each domain goes before any second."""
    size = settings.segment_windows
    segments = [
        (number, name, min(size, count - number * size))
        for name, count in windows.items()
        for number in range(-(-count // size))
    ]
    first = sorted((segments[place] for place in chance.permutation(len(segments))), key=lambda segment: segment[0])
    taken, left = list[list[str]](), settings.most_windows
    for _, name, length in first:
        taken.append([name] * min(length, left))
        left -= len(taken[-1])
    return [name for place in chance.permutation(len(taken)) for name in taken[place]]


def _flipped(windows: int, settings: StreamSettings, chance: np.random.Generator) -> frozenset[int]:
    """Not the first window: with nothing learned yet, no policy could tell. Nor the last few.

    A bad ending would drown what was forgotten of the domains: the last model is the one that is asked.
    """
    places = range(1, windows - settings.segment_windows // 2)
    count = min(round(settings.flipped_share * windows), len(places))
    return frozenset(chance.choice(places, count, replace=False).tolist()) if count else frozenset()


def _rows(
    order: Sequence[str], rest: Mapping[str, Sequence[Labelled]], flipped: frozenset[int], size: int
) -> list[WindowRow]:
    coming = {name: iter(reviews) for name, reviews in rest.items()}
    return [
        _row(size * place + number, name, *next(coming[name]), flipped=place in flipped)
        for place, name in enumerate(order)
        for number in range(size)
    ]


def _row(offset: int, domain: str, text: str, label: int, *, flipped: bool) -> WindowRow:
    return WindowRow(
        offset=offset,
        id=str(offset),
        text=text,
        label=label ^ flipped,
        side=side_of(canonical(text), SPLIT),
        source=domain,
        created_at=None,
        prediction_id=None,
        origin_partition=0,
        origin_offset=offset,
        published_at=BEGAN + timedelta(seconds=offset),
        signature=None,
    )


def _closing(rows: int) -> WindowSettings:
    return WindowSettings(triggers=(CountTriggerSettings(rows=rows),), min_rows=1)


def _recorded(rows: Sequence[WindowRow]) -> ClosedWindow:
    """All rows as one window, as the backtest's cut reads them."""
    return ClosedWindow(
        window_id="w-0000000000",
        sequence=0,
        first_offset=0,
        last_offset=len(rows) - 1,
        reviews=len(rows),
        kept=len(rows),
        set_aside=(),
        sides={},
        labels={},
        sources={},
        label_names=LABELS,
        origins={},
        first_published_at=BEGAN,
        last_published_at=rows[-1].published_at,
        trigger=Trigger.COUNT,
        trigger_detail="all",
        trainable=True,
        split=SPLIT,
        snapshot=Snapshot(path="none", sha256="0" * 64, size_bytes=1),
        closed_at=rows[-1].published_at,
    )
