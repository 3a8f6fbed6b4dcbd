"""Lines out of pieces, whatever the pieces are."""

from hypothesis import given
from hypothesis import strategies as st

from services.server.api.lines import LineSplitter, LineTooLongError


def split(pieces: list[bytes], max_bytes: int) -> list[bytes | Exception]:
    splitter = LineSplitter(max_bytes)
    found = [line for piece in pieces for line in splitter.feed(piece)]
    found += splitter.finish()
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    return [line.content for line in found]


@given(st.lists(st.binary(max_size=20).map(lambda piece: piece.replace(b"x", b"\n"))), st.integers(0, 30))
def test_the_lines_do_not_depend_on_the_pieces_and_none_longer_than_allowed_is_kept(
    pieces: list[bytes], max_bytes: int
) -> None:
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    found = split(pieces, max_bytes)
    assert len(found) == len(expected)
    for content, line in zip(found, expected, strict=True):
        if len(line) <= max_bytes:
            assert content == line
        else:
            assert isinstance(content, LineTooLongError)


def test_of_a_line_without_end_nothing_beyond_the_bound_is_kept() -> None:
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 100)) == []
        assert len(splitter._begun) <= 10
