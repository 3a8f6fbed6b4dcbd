"""Lines out of pieces, whatever the pieces are."""

from hypothesis import given
from hypothesis import strategies as st

from services.server.api.lines import LineSplitter, LineTooLongError


def split(pieces: list[bytes], max_bytes: int) -> dict[int, bytes | Exception]:
    splitter = LineSplitter(max_bytes)
    found = [line for piece in pieces for line in splitter.feed(piece)]
    found += splitter.finish()
    return {line.number: line.content for line in found}


@given(st.lists(st.binary(max_size=20).map(lambda piece: piece.replace(b"x", b"\n"))), st.integers(0, 30))
def test_the_lines_do_not_depend_on_the_pieces_and_neither_empty_ones_nor_ones_too_long_are_kept(
    pieces: list[bytes], max_bytes: int
) -> None:
    whole = b"".join(pieces)
    found = split(pieces, max_bytes)
    assert list(found) == sorted(found)
    for number, line in enumerate(whole.split(b"\n"), start=1):
        if len(line) > max_bytes:
            assert isinstance(found.pop(number), LineTooLongError)
        elif line.strip():
            assert found.pop(number) == line
    assert not found


def test_of_a_line_without_end_nothing_beyond_the_bound_is_kept() -> None:
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 100)) == []
        assert len(splitter._begun) <= 10
