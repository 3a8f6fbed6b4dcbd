"""Lineage in tags: complete, within the registry's bounds, and readable by people."""

from datetime import UTC, datetime

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ModelError
from shared.events import SplitRecord
from shared.lineage import MAX_TAG_CHARS, Lineage, code_version

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SPLIT = SplitRecord(
    salt="tidemill", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1"
)
LINEAGE = Lineage(
    window_ids=("w-0000000000", "w-0000001200"),
    offset_ranges=((0, 1199), (1200, 2399)),
    snapshot_sha256s=("a" * 64, "b" * 64),
    parent_version="3",
    base="bundled",
    base_digest="c" * 64,
    seed=17,
    labels=("negative", "positive"),
    normaliser_version="1",
    split=SPLIT,
    model_digest="d" * 64,
    temperature=1.25,
    code_version="0.1.0",
    plan_sha256="e" * 64,
    newest_published_at=MOMENT,
)
lineages = st.builds(
    Lineage,
    window_ids=st.lists(st.text()).map(tuple),
    offset_ranges=st.lists(st.tuples(st.integers(), st.integers())).map(tuple),
    snapshot_sha256s=st.lists(st.just("a" * 64), max_size=300).map(tuple),
    replay_window_ids=st.lists(st.text(), max_size=300).map(tuple),
    parent_version=st.none() | st.text(),
    base=st.text(),
    base_digest=st.text(),
    seed=st.integers(),
    labels=st.lists(st.text()).map(tuple),
    normaliser_version=st.text(),
    split=st.just(SPLIT),
    model_digest=st.just("d" * 64),
    temperature=st.floats(allow_nan=False, allow_infinity=False),
    code_version=st.text(),
    plan_sha256=st.just("e" * 64),
    newest_published_at=st.datetimes(timezones=st.just(UTC)),
)


@hypothesis.settings(deadline=None)
@given(lineage=lineages)
def test_a_lineage_comes_back_from_its_tags(lineage: Lineage) -> None:
    assert Lineage.from_tags(lineage.to_tags()) == lineage


@hypothesis.settings(deadline=None)
@given(lineage=lineages)
def test_no_tag_is_longer_than_a_registry_takes(lineage: Lineage) -> None:
    assert max(map(len, lineage.to_tags().values())) <= MAX_TAG_CHARS


def test_hundreds_of_windows_take_several_tags() -> None:
    windows = tuple(f"w-{window:010d}" for window in range(1_000))
    lineage = LINEAGE.model_copy(update={"replay_window_ids": windows})
    assert {"tidemill.replay_window_ids", "tidemill.replay_window_ids.1"} <= lineage.to_tags().keys()
    assert Lineage.from_tags(lineage.to_tags()).replay_window_ids == windows


def test_tags_are_readable_as_they_stand() -> None:
    tags = LINEAGE.to_tags()
    assert tags["tidemill.window_ids"] == '["w-0000000000","w-0000001200"]'
    assert tags["tidemill.base"] == "bundled"
    assert tags["tidemill.parent_version"] == "3"
    assert tags["tidemill.newest_published_at"] == "2026-03-01T12:30:00Z"


def test_a_model_that_started_from_the_base_has_no_parent() -> None:
    orphan = LINEAGE.model_copy(update={"parent_version": None})
    assert "tidemill.parent_version" not in orphan.to_tags()
    assert Lineage.from_tags(orphan.to_tags()).parent_version is None


def test_tags_of_others_are_passed_over() -> None:
    others = {"tidemill.window_id": "w-0000001200", "tidemill.decision": "{}", "owner": "anna"}
    assert Lineage.from_tags(LINEAGE.to_tags() | others) == LINEAGE


def test_a_missing_field_is_named() -> None:
    tags = LINEAGE.to_tags()
    del tags["tidemill.seed"]
    with pytest.raises(ModelError, match="seed"):
        Lineage.from_tags(tags)


def test_a_damaged_tag_is_no_lineage() -> None:
    with pytest.raises(ModelError, match="no complete lineage"):
        Lineage.from_tags(LINEAGE.to_tags() | {"tidemill.window_ids": '["w-0000'})


def test_the_code_version_is_the_same_all_day() -> None:
    assert code_version() == code_version() != ""
