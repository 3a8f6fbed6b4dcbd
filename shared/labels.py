"""What people write for a label, mapped to class ids."""

import math
from collections.abc import Mapping, Sequence

from shared.errors import ConfigurationError, RecordError

Label = str | int | float | bool


class UnknownLabelError(RecordError):
    """A label is neither a class, nor an alias, nor a class id."""


class LabelMap:
    """Finds the class that a label means.

    Class names and aliases count in any case, and first. Whole numbers, also as text or as floats, are class ids unless
    a class or an alias has that name (so that stars "1" to "5" can be classes). True and false are 1 and 0 where there
    are two classes. Nothing else is guessed at: an empty label, NaN and 0.5 are unknown.

    Raises:
        ConfigurationError: Two classes or aliases are the same name.
    """

    def __init__(self, labels: Sequence[str], aliases: Mapping[str, str]) -> None:
        self.labels = tuple(labels)
        ids = {name: number for number, name in enumerate(self.labels)}
        names = [*ids.items(), *((alias, ids[name]) for alias, name in aliases.items() if name in ids)]
        self._ids = _unambiguous(names)
        for name, number in _implied(self.labels).items():
            self._ids.setdefault(name, number)

    def class_id(self, label: Label | None) -> int | None:
        """The index into `labels`; None for text without a label (null).

        Raises:
            UnknownLabelError: Naming the label and what is known.
        """
        return None if label is None else self._find(label)

    def class_name(self, label: Label) -> str:
        """The class as it is called in `labels`.

        Raises:
            UnknownLabelError: Naming the label and what is known.
        """
        return self.labels[self._find(label)]

    def _find(self, label: Label) -> int:
        found = self._ids.get(_key(label))
        if found is None:
            raise UnknownLabelError(f"label {str(label)[:100]!r} is unknown; known: {', '.join(sorted(self._ids))}")
        return found


def _unambiguous(names: Sequence[tuple[str, int]]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for name, number in names:
        if ids.setdefault(_key(name), number) != number:
            raise ConfigurationError(f"stream.labels and stream.aliases use {name!r} for two classes; rename one")
    return ids


def _implied(labels: Sequence[str]) -> dict[str, int]:
    """Class ids; none where a class is itself called a number, since 1 could then mean two things."""
    numeric = any(_key(label).lstrip("-").isdecimal() for label in labels)
    implied = {} if numeric else {str(number): number for number in range(len(labels))}
    return implied | {"false": 0, "true": 1} if len(labels) == 2 else implied


def _key(label: Label) -> str:
    """The form that labels are compared in: 1.0 is 1, " POS " is pos; bool is a word although Python counts with it."""
    if isinstance(label, float) and math.isfinite(label) and label.is_integer():
        label = int(label)
    return str(label).strip().casefold()
