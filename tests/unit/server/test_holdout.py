"""Held-out rows of the windows that a model was made of, and of no other side."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.server.card import Card
from services.server.holdout import read_holdout
from shared.archive import Archive, WindowRow
from shared.errors import SnapshotError
from shared.events import Side
from shared.settings import load_settings
from tests.unit.server.api_client import LINEAGE
from tests.unit.server.fakes import card

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def row(offset: int, side: Side) -> WindowRow:
    return WindowRow(
        offset, f"r{offset}", f"text {offset}", offset % 2, side, None, None, None, 0, offset, MOMENT, None
    )


def kept(archive: Archive, *windows: list[WindowRow]) -> Card:
    """A model of these windows, the newest last."""
    ids = tuple(f"w-{number:010d}" for number in range(len(windows)))
    digests = tuple(archive.write(name, rows).sha256 for name, rows in zip(ids, windows, strict=True))
    ranges = tuple((0, 9) for _ in ids)
    lineage = LINEAGE.model_copy(update={"window_ids": ids, "snapshot_sha256s": digests, "offset_ranges": ranges})
    return card("1", tags=lineage.to_tags())


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(load_settings(home=tmp_path))


def test_only_held_out_rows_are_read_with_their_labels(archive: Archive) -> None:
    mine = kept(archive, [row(0, Side.TRAIN), row(1, Side.HOLDOUT), row(2, Side.HOLDOUT), row(3, Side.VALIDATION)])
    found = read_holdout(archive, mine, 10)
    assert (found.texts, found.labels.tolist()) == (["text 1", "text 2"], [1, 0])


def test_older_windows_fill_up_what_the_newest_has_not(archive: Archive) -> None:
    old, new = [row(number, Side.HOLDOUT) for number in (0, 1)], [row(number, Side.HOLDOUT) for number in (5, 6)]
    mine = kept(archive, old, new)
    assert read_holdout(archive, mine, 3).texts == ["text 5", "text 6", "text 0"]
    assert read_holdout(archive, mine, 1).texts == ["text 5"]


def test_a_model_that_does_not_say_where_it_came_from_has_none(archive: Archive) -> None:
    with pytest.raises(SnapshotError, match="version 1 does not say"):
        read_holdout(archive, card("1"), 10)


def test_a_snapshot_that_is_gone_is_said_to_be(archive: Archive) -> None:
    mine = kept(archive, [row(0, Side.HOLDOUT)])
    other = LINEAGE.model_copy(update={"snapshot_sha256s": ("f" * 64,)})
    assert len(read_holdout(archive, mine, 1).texts) == 1
    with pytest.raises(SnapshotError, match="is not in the archive"):
        read_holdout(archive, card("2", tags=other.to_tags()), 10)
