"""Which slices of the deciding rows there are: parts in which a harm could hide behind a better whole."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from services.evaluator.pool import HeldOutRow
from shared.gate_settings import (
    LabelSlicesSettings,
    LanguageSlicesSettings,
    LengthSlicesSettings,
    PatternSliceSettings,
    SliceKindSettings,
    SliceSettings,
    SourceSlicesSettings,
)
from shared.language import identify

OTHER, UNKNOWN = "other", "unknown"
CLASSES = f"{LabelSlicesSettings().kind}:"
"""How the name of a slice begins that is a class."""

# A slice's name becomes part of a metric's name, and sources are whatever people wrote.
_UNFIT = re.compile(r"[^\w.\- ]")
_LONGEST_NAME = 80

BoolArray = NDArray[np.bool_]
Namer = Callable[[HeldOutRow], str | None]


def slices_of(rows: Sequence[HeldOutRow], labels: Sequence[str], settings: SliceSettings) -> dict[str, BoolArray]:
    """Slice, as KIND:VALUE -> (n,) whether each row belongs to it; sorted by name, none empty.

    Characters of a value that do not fit into a metric's name become '_', and values that are then alike share a slice.
    Args: labels: class names by class id.
    """
    found: dict[str, BoolArray] = {}
    for kind in settings.kinds:
        name = _namer(kind, rows, labels)
        for place, row in enumerate(rows):
            if (value := name(row)) is not None:
                members = found.setdefault(f"{kind.kind}:{_fitting(value)}", np.zeros(len(rows), np.bool_))
                members[place] = True
    return dict(sorted(found.items()))


def _namer(kind: SliceKindSettings, rows: Sequence[HeldOutRow], labels: Sequence[str]) -> Namer:
    """What tells a row's value of this kind; None: the row is in no slice of it."""
    match kind:
        case SourceSlicesSettings():
            return _by_source(kind, rows)
        case LengthSlicesSettings():
            return lambda row: _words(len(row.text.split()), kind.edges)
        case LabelSlicesSettings():
            return lambda row: labels[row.label]
        case LanguageSlicesSettings():
            return lambda row: _language(row.text, kind)
        case PatternSliceSettings():
            pattern = re.compile(kind.regex)
            return lambda row: kind.name if pattern.search(row.text) else None
        case _:
            assert_never(kind)


def _by_source(kind: SourceSlicesSettings, rows: Sequence[HeldOutRow]) -> Namer:
    counts = Counter(row.source or UNKNOWN for row in rows)
    # By name among equals, so that the order of the rows decides nothing.
    largest = set(sorted(counts, key=lambda source: (-counts[source], source))[: kind.largest])
    return lambda row: source if (source := row.source or UNKNOWN) in largest else OTHER


def _words(count: int, edges: Sequence[int]) -> str:
    place = bisect_right(edges, count)
    low = edges[place - 1] if place else 0
    return f"{low}-{edges[place] - 1}" if place < len(edges) else f"{low}-more"


# Challengers of one sitting are judged on the same rows, and those of the next on most of them again.
@lru_cache(maxsize=20_000)
def _language(text: str, kind: LanguageSlicesSettings) -> str:
    if len(text) < kind.min_chars:
        return UNKNOWN
    language, confidence = identify(text)
    return language if confidence >= kind.min_confidence else UNKNOWN


def _fitting(value: str) -> str:
    return _UNFIT.sub("_", value)[:_LONGEST_NAME]
