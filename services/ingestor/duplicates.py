"""Which rows of a window repeat or contradict each other, or rows of the windows before.

A text is known by its canonical form. In the order of offsets:

* Seen with the same label: `duplicate`. Much like one seen, whatever its label: `near_duplicate`. The first stands.
* Seen with another label: `conflict`. Neither is trusted: the row is set aside, and so is the earlier one if its window
  is still open (a closed window is never changed). From then on the text is barred: all its rows are conflicts.
* Marked test although the split does not hold the text out: `split_conflict`, barred in the same way, so that no copy
  without the mark is trained on either.

What was set aside is never compared with, barred texts apart. All outcomes follow from the rows and their order alone.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from services.ingestor.similarity import SimilarTexts
from shared.events import SetAside
from shared.settings import DuplicateSettings

_DIGEST_BYTES = 16  # among a billion texts, an accidental meeting has odds of 1 to 10^20
_BARRED = (None, SetAside.CONFLICT, SetAside.SPLIT_CONFLICT)  # the place is the code in kept signatures


@dataclass(frozen=True, slots=True)
class Observation:
    """What becomes of a row: None keeps it. `overturned` is the number, in the open window, of an earlier row that was
    kept until now and is to be set aside for the same reason."""

    set_aside: SetAside | None
    overturned: int | None = None


@dataclass(frozen=True, slots=True)
class Signatures:
    """What later windows need to know of one window's n texts: to be kept beside its snapshot."""

    digests: NDArray[np.uint8]
    """Of the canonical forms, shape (n, 16)."""
    labels: NDArray[np.int32]
    """Class ids, shape (n,)."""
    barred: NDArray[np.uint8]
    """0: not; 1: conflict; 2: split conflict. Shape (n,)."""
    sketched: NDArray[np.bool_]
    """Whether a text has a sketch, shape (n,)."""
    sketches: NDArray[np.uint32]
    """Of those that have one, in order, shape (sketched, permutations)."""

    def to_bytes(self) -> bytes:
        """A NumPy archive, without pickles."""
        file = BytesIO()
        np.savez(file, **{name: getattr(self, name) for name in self.__slots__})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Signatures":
        """What `to_bytes` wrote."""
        with np.load(BytesIO(raw), allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in cls.__slots__})


@dataclass(slots=True)
class _Known:
    label: int
    row: int | None = None
    barred: SetAside | None = None
    sketch: int | None = None


class DuplicateIndex:
    """The texts of the open window and of the last windows before it, in bounded memory."""

    def __init__(self, settings: DuplicateSettings, earlier: Iterable[Signatures] = ()) -> None:
        """Args: earlier: what is remembered of the last windows, the oldest first."""
        self._settings = settings
        self._similar = SimilarTexts(settings)
        self._earlier: deque[dict[bytes, _Known]] = deque()
        self._open: dict[bytes, _Known] = {}
        self._rows = 0
        for signatures in earlier:
            self._load(signatures)

    def observe(self, identity: str, label: int, split_conflict: bool = False) -> Observation:
        """Judges the open window's next row, by its text's canonical form."""
        row, self._rows = self._rows, self._rows + 1
        digest = _digest(identity)
        known = self._find(digest)
        if known is None:
            return self._first(digest, identity, _Known(label, row), split_conflict)
        if known.barred:
            return Observation(known.barred)
        if not split_conflict and known.label == label:
            return Observation(SetAside.DUPLICATE)
        return self._bar(digest, known, SetAside.SPLIT_CONFLICT if split_conflict else SetAside.CONFLICT)

    def signatures(self) -> Signatures:
        """Of the open window's rows so far."""
        return _pack(self._open, self._similar, self._settings.permutations)

    def next_window(self) -> None:
        """Begins the next window; the one that was open counts as earlier."""
        closed, self._open, self._rows = self._open, {}, 0
        for known in closed.values():
            known.row = None
        self._remember(closed)

    def _load(self, signatures: Signatures) -> None:
        """Sketches of another size, kept under other settings, are passed over: those texts are compared exactly."""
        self._remember(dict(_unpack(signatures, self._similar, self._settings.permutations)))

    def _find(self, digest: bytes) -> _Known | None:
        for texts in (self._open, *reversed(self._earlier)):
            if known := texts.get(digest):
                return known
        return None

    def _first(self, digest: bytes, identity: str, known: _Known, split_conflict: bool) -> Observation:
        if split_conflict:
            known.barred = SetAside.SPLIT_CONFLICT
        elif (sketch := self._similar.sketch(identity)) is not None:
            if self._similar.has_similar(sketch):
                return Observation(SetAside.NEAR_DUPLICATE)
            known.sketch = self._similar.add(sketch)
        self._open[digest] = known
        return Observation(known.barred)

    def _bar(self, digest: bytes, known: _Known, reason: SetAside) -> Observation:
        if digest in self._open:
            known.barred = reason
        else:  # a closed window keeps its row, as its kept signatures say
            self._open[digest] = _Known(known.label, None, reason)
        return Observation(reason, overturned=known.row)

    def _remember(self, texts: dict[bytes, _Known]) -> None:
        self._earlier.append(texts)
        while len(self._earlier) > self._settings.remembered_windows or self._too_many_rows():
            for known in self._earlier.popleft().values():
                if known.sketch is not None:
                    self._similar.remove(known.sketch)

    def _too_many_rows(self) -> bool:
        return len(self._earlier) > 1 and sum(map(len, self._earlier)) > self._settings.remembered_rows


def _digest(identity: str) -> bytes:
    return blake2b(identity.encode("utf-8", errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _pack(texts: dict[bytes, _Known], similar: SimilarTexts, permutations: int) -> Signatures:
    known = list(texts.values())
    sketches = [similar.get(each.sketch) for each in known if each.sketch is not None]
    return Signatures(
        digests=np.frombuffer(b"".join(texts), dtype=np.uint8).reshape(-1, _DIGEST_BYTES),
        labels=np.array([each.label for each in known], dtype=np.int32),
        barred=np.array([_BARRED.index(each.barred) for each in known], dtype=np.uint8),
        sketched=np.array([each.sketch is not None for each in known], dtype=np.bool_),
        sketches=np.array(sketches, dtype=np.uint32).reshape(-1, permutations),
    )


def _unpack(signatures: Signatures, similar: SimilarTexts, permutations: int) -> Iterable[tuple[bytes, _Known]]:
    comparable = signatures.sketches.shape[1] == permutations
    sketches = iter(signatures.sketches)
    for digest, label, code, sketched in zip(
        signatures.digests, signatures.labels, signatures.barred, signatures.sketched, strict=True
    ):
        sketch = next(sketches) if sketched else None
        key = similar.add(sketch) if sketch is not None and comparable else None
        yield digest.tobytes(), _Known(int(label), None, _BARRED[int(code)], key)
