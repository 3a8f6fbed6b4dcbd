"""Rebuilds: a version's history trained again without some of its reviews. What they are called and leave out. Pure.

A selector is a text, because orders, plans, tags and the ledger keep it: `source=NAME`, or `offsets=FIRST-LAST` of
`reviews.curated`, both ends included.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import RecordError

REBUILD_PREFIX = "rebuild-"
_OFFSETS = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_ID_CHARS = 12


@dataclass(frozen=True, slots=True)
class BySource:
    """All reviews of one source, whenever they came."""

    name: str

    def matches(self, offset: int, source: str | None) -> bool:
        """Whether a review is one of these."""
        return source == self.name

    def __str__(self) -> str:
        return f"source={self.name}"


@dataclass(frozen=True, slots=True)
class ByOffsets:
    """The reviews of a range of `reviews.curated`, its last one included."""

    first: int
    last: int

    def matches(self, offset: int, source: str | None) -> bool:
        """Whether a review is one of these."""
        return self.first <= offset <= self.last

    def __str__(self) -> str:
        return f"offsets={self.first}-{self.last}"


Selector = BySource | ByOffsets


def parse_selector(text: str) -> Selector:
    """Reads a selector.

    Raises:
        RecordError: It is none.

    >>> parse_selector("offsets=1200-1399")
    ByOffsets(first=1200, last=1399)
    """
    kind, _, value = text.partition("=")
    if kind == "source" and value.strip():
        return BySource(value)
    if kind == "offsets" and (found := _OFFSETS.fullmatch(value)):
        first, last = int(found[1]), int(found[2])
        if first <= last:
            return ByOffsets(first, last)
    raise RecordError(f"'{text}' says nothing to leave out; write source=NAME or offsets=FIRST-LAST, FIRST <= LAST")


@dataclass(frozen=True)
class LeftOut:
    """Several selectors as one: a review that any of them matches is left out."""

    selectors: tuple[Selector, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "LeftOut":
        """Raises RecordError as `parse_selector` does."""
        return cls(tuple(map(parse_selector, dict.fromkeys(texts))))

    def __bool__(self) -> bool:
        return bool(self.selectors)

    def __contains__(self, review: tuple[int, str | None]) -> bool:
        """Args: review: its offset in `reviews.curated`, and its source."""
        return any(selector.matches(*review) for selector in self.selectors)


def rebuild_id(command_id: str) -> str:
    """What the one candidate that answers an order is called, in place of a window's id; fit for folders and tags."""
    return f"{REBUILD_PREFIX}{hashlib.sha256(command_id.encode()).hexdigest()[:_ID_CHARS]}"
