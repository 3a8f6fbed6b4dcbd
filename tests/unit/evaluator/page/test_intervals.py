"""Each difference on its own scale, in the colour of what is settled."""

import pytest

from services.evaluator.page.intervals import Difference, intervals


def difference(value: float, low: float | None, high: float | None, floor: float = 0.0) -> Difference:
    return Difference("guessing words", value, low, high, floor, "so much")


@pytest.mark.parametrize(
    ("found", "tone"),
    [
        (difference(0.3, 0.1, 0.5), "good"),
        (difference(-0.3, -0.5, -0.1), "bad"),
        (difference(0.1, -0.1, 0.3), "mute"),
        (difference(0.0, -0.005, 0.005, floor=-0.01), "good"),
        (difference(0.3, None, None), "mute"),
    ],
)
def test_what_is_settled_is_seen(found: Difference, tone: str) -> None:
    assert f'<g class="{tone}">' in intervals([found], "a picture")


def test_a_difference_without_ends_is_a_point() -> None:
    picture = intervals([difference(0.3, None, None)], "a picture")
    assert ('class="mark" stroke-width' in picture, picture.count("<circle")) == (False, 1)


def test_a_hair_and_a_mile_each_fill_their_line() -> None:
    picture = intervals([difference(1e-6, 0.0, 1e-6), difference(1e3, 0.0, 1e3)], "a picture")
    assert picture.count('x1="420.0" x2="567.8"') == 2


def test_no_difference_at_all_lies_on_zero() -> None:
    assert 'cx="420.0"' in intervals([difference(0.0, 0.0, 0.0)], "a picture")


def test_the_margin_is_marked_where_there_is_one() -> None:
    assert "margin" in intervals([difference(0.0, -0.1, 0.1, floor=-0.01)], "a picture")
    assert "margin" not in intervals([difference(0.0, -0.1, 0.1)], "a picture")
