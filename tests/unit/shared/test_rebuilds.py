"""What to leave out is read strictly, and means the same wherever it is read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RecordError
from shared.rebuilds import ByOffsets, BySource, LeftOut, parse_selector, rebuild_id

sources = st.text(min_size=1, max_size=20).filter(str.strip)
ranges = st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
selectors = st.one_of(sources.map(BySource), ranges.map(lambda pair: ByOffsets(*pair)))


@given(selectors)
def test_a_selector_is_read_back_from_its_text(selector: BySource | ByOffsets) -> None:
    assert parse_selector(str(selector)) == selector


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spam",
        "source=",
        "source= ",
        "Source=a",
        "offsets=",
        "offsets=5",
        "offsets=9-5",
        "offsets=-1-5",
        "offsets=1-2-3",
        "offsets= 1-2",
        "offsets=1-2\n",
        "offsets=\uff11-\uff12",
        "label=positive",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="source=NAME or offsets=FIRST-LAST"):
        parse_selector(text)


def test_a_source_may_hold_an_equals_sign() -> None:
    assert parse_selector("source=shop=a") == BySource("shop=a")


def test_offsets_are_left_out_with_both_ends() -> None:
    left_out = LeftOut.of(["offsets=10-12"])
    assert [offset for offset in range(8, 15) if (offset, None) in left_out] == [10, 11, 12]


def test_a_source_is_left_out_by_its_whole_name() -> None:
    left_out = LeftOut.of(["source=spam"])
    assert [name for name in ("spam", "Spam", "spam2", "", None) if (1, name) in left_out] == ["spam"]


@given(st.lists(selectors, max_size=3), st.integers(0, 10**9), st.one_of(st.none(), sources))
def test_several_leave_out_what_any_of_them_does(chosen: list[BySource | ByOffsets], offset: int, source: str) -> None:
    alone = [(offset, source) in LeftOut((selector,)) for selector in chosen]
    assert ((offset, source) in LeftOut.of(map(str, chosen))) is any(alone)


@given(st.text(max_size=40), st.text(max_size=40))
def test_every_order_has_a_name_of_its_own_that_folders_and_queries_take(one: str, other: str) -> None:
    assert rebuild_id(one).removeprefix("rebuild-").isalnum()
    assert (rebuild_id(one) == rebuild_id(other)) is (one == other)
