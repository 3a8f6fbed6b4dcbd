"""Lines out of bytes that come in pieces, with a bound on each. Of empty lines nothing is made but a number."""

from collections.abc import Iterator
from dataclasses import dataclass


class LineTooLongError(Exception):
    """The line was not kept."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end, or why there is none. `number` counts from 1, empty lines included."""

    number: int
    content: bytes | Exception


class LineSplitter:
    """Keeps at most one unfinished line of at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun, self._too_long, self._number = bytearray(), False, 0

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that end within this piece and say something."""
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._add(end)
            yield from self._end()
        self._add(rest)

    def finish(self) -> Iterator[Line]:
        """The last line, if nothing ended it and it says something."""
        yield from self._end()

    def broken(self, error: Exception) -> Line:
        """In place of the line in which reading failed."""
        return Line(self._number + 1, error)

    def _add(self, part: bytes) -> None:
        if self._too_long or len(self._begun) + len(part) > self._max_bytes:
            self._too_long = True
            self._begun.clear()
        else:
            self._begun += part

    def _end(self) -> Iterator[Line]:
        self._number += 1
        if self._too_long:
            yield Line(self._number, self._refusal())
        elif self._begun and (content := bytes(self._begun)).strip():
            yield Line(self._number, content)
        self._begun.clear()
        self._too_long = False

    def _refusal(self) -> LineTooLongError:
        return LineTooLongError(f"a line may have {self._max_bytes} bytes; shorten its text")
