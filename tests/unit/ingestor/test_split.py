"""A text's side is its own: the same for every reader, every window, every restart."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.split import BUCKETS, bucket, check_same, is_split_conflict, side_of
from shared.errors import ConfigurationError
from shared.events import Side, SplitRecord
from shared.settings import SplitSettings
from shared.text import canonical, prepare

RECORD = SplitSettings().record("1")
DEMO = SplitSettings(holdout_share=450).record("1")


@pytest.mark.parametrize(("identity", "expected"), [("", 476), ("a great film", 387), ("schöner film", 25)])
def test_buckets_are_those_of_every_release(identity: str, expected: int) -> None:
    """Computed with sha256sum; another bucket for one of these would part the streams that exist."""
    assert bucket(identity, "tidemill") == expected


@given(st.text())
def test_every_text_has_a_bucket(identity: str) -> None:
    assert 0 <= bucket(identity, "salt") < BUCKETS


@pytest.mark.parametrize(
    ("record", "shares"),
    [
        (RECORD, {"holdout": 0.2, "calibration": 0.05, "validation": 0.05, "train": 0.7}),
        (DEMO, {"holdout": 0.45, "calibration": 0.05, "validation": 0.05, "train": 0.45}),
    ],
)
def test_sides_have_their_shares(record: SplitRecord, shares: dict[str, float]) -> None:
    counts = Counter(side_of(f"review {number}", record) for number in range(20_000))
    assert {side: count / 20_000 for side, count in counts.items()} == pytest.approx(shares, abs=0.01)


def test_sides_follow_the_bucket() -> None:
    limits = ((200, Side.HOLDOUT), (250, Side.CALIBRATION), (300, Side.VALIDATION), (1000, Side.TRAIN))
    for number in range(3000):
        identity = f"review {number}"
        place = bucket(identity, RECORD.salt)
        assert side_of(identity, RECORD) is next(side for limit, side in limits if place < limit)


@pytest.mark.parametrize("copy", ["It's <b>great</b>!", "IT S GREAT", " it's great... "])
def test_copies_of_a_review_stand_on_one_side(copy: str) -> None:
    assert bucket(canonical(prepare(copy)), "salt") == bucket("it s great", "salt")


@pytest.mark.parametrize("side", list(Side))
def test_a_row_marked_test_is_in_conflict_unless_held_out(side: Side) -> None:
    assert is_split_conflict(side, marked_test=True) is (side is not Side.HOLDOUT)
    assert not is_split_conflict(side, marked_test=False)


def test_the_same_split_is_accepted() -> None:
    check_same(RECORD, SplitSettings().record("1"))


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "other"},
        {"holdout_share": 201},
        {"calibration_share": 51},
        {"validation_share": 0},
        {"normaliser_version": "2"},
    ],
)
def test_another_split_is_refused_by_name(change: dict[str, str | int]) -> None:
    (field, value), before = next(iter(change.items())), RECORD.model_dump()
    with pytest.raises(ConfigurationError, match=f"{field} was {before[field]!r} and is now {value!r}") as caught:
        check_same(RECORD, RECORD.model_copy(update=change))
    others = set(before) - {field}
    assert not any(other in str(caught.value) for other in others)
