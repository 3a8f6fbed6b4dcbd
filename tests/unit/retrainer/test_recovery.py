"""Which rows of a range were the window's."""

import pytest

from services.retrainer.recovery import kept_rows
from shared.errors import SnapshotError
from shared.events import ClosedWindow, CuratedReview, Origin, SetAside, SetAsideRow, Side
from tests.unit.retrainer.builders import NOW, closed_window

DUPLICATE = SetAsideRow(offset=1, reason=SetAside.DUPLICATE)


def review(place: int, label: int = 0, side: Side = Side.TRAIN) -> tuple[int, CuratedReview]:
    made = CuratedReview(
        id=str(place),
        text=f"review {place}",
        label=label,
        side=side,
        marked_test=False,
        origin=Origin(partition=2, offset=place),
        published_at=NOW,
    )
    return place, made


REVIEWS = [review(0), review(1), review(2, label=1), review(3, side=Side.HOLDOUT)]


def window(**changes: object) -> ClosedWindow:
    manifest = {
        "reviews": 4,
        "kept": 3,
        "set_aside": (DUPLICATE,),
        "sides": {Side.TRAIN: 2, Side.HOLDOUT: 1},
        "labels": {"negative": 2, "positive": 1},
    }
    return closed_window(0).model_copy(update=manifest | changes)


def test_what_the_manifest_sets_aside_is_left_out() -> None:
    rows = kept_rows(window(), REVIEWS)
    assert [(row.offset, row.label, row.side, row.origin_partition) for row in rows] == [
        (0, 0, Side.TRAIN, 2),
        (2, 1, Side.TRAIN, 2),
        (3, 0, Side.HOLDOUT, 2),
    ]


@pytest.mark.parametrize(
    ("changes", "reviews", "said"),
    [
        ({}, REVIEWS[:-1], "reviews: 3 instead of 4"),
        ({"set_aside": ()}, REVIEWS, "kept: 4 instead of 3"),
        ({}, [*REVIEWS[:2], review(2, label=0), REVIEWS[3]], "rows labelled negative: 3 instead of 2"),
        ({}, [*REVIEWS[:3], review(3)], "holdout rows: 0 instead of 1"),
    ],
    ids=["a review too few", "another list of those set aside", "another label", "another side"],
)
def test_other_reviews_than_the_windows_own_are_refused(
    changes: dict[str, object], reviews: list[tuple[int, CuratedReview]], said: str
) -> None:
    with pytest.raises(SnapshotError, match=said):
        kept_rows(window(**changes), reviews)
