"""What the windower of unlabelled text keeps, cuts and remembers, without any broker."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.duplicates import Signatures
from services.ingestor.triggers import Closing
from services.ingestor.unlabeled_windower import UnlabeledWindower
from shared.archive import Archive
from shared.errors import ConfigurationError, LedgerCorruptError
from shared.events import Origin, SetAside, Side, Snapshot, Trigger, UnlabeledReview, UnlabeledWindow
from shared.settings import IngestorSettings, Settings, SplitSettings, UnlabeledWindowSettings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SNAPSHOT = Snapshot(path="unlabeled/x", sha256="0" * 64, size_bytes=1)
SETTINGS = IngestorSettings(unlabeled=UnlabeledWindowSettings(rows=4, max_rows=8, max_age_seconds=60))
LONG = " ".join(f"word{number}" for number in range(60))


def review(text: str, side: Side = Side.TRAIN, source: str | None = None) -> UnlabeledReview:
    return UnlabeledReview(
        id="x", text=text, side=side, source=source, origin=Origin(partition=0, offset=7), published_at=NOON
    )


def windower(settings: IngestorSettings = SETTINGS) -> UnlabeledWindower:
    return UnlabeledWindower(settings)


def feed(cutter: UnlabeledWindower, *reviews: UnlabeledReview, first: int = 0) -> None:
    for offset, each in enumerate(reviews, start=first):
        cutter.add(offset, each, None)


def close(cutter: UnlabeledWindower) -> UnlabeledWindow:
    manifest = cutter.manifest(Closing(Trigger.COUNT, "enough"), SNAPSHOT, NOON)
    cutter.forget(manifest)
    return manifest


def reasons(cutter: UnlabeledWindower) -> list[tuple[int, SetAside]]:
    return [(row.offset, row.reason) for row in cutter.window.set_aside()]


def four() -> list[UnlabeledReview]:
    return [review(f"number {number}") for number in range(4)]


def test_a_full_window_is_due_though_it_has_no_classes() -> None:
    cutter = windower()
    feed(cutter, *four()[:3])
    assert cutter.due(NOON) is None
    feed(cutter, four()[3], first=3)
    assert cutter.due(None) == Closing(Trigger.COUNT, "4 kept rows of 4")


def test_a_window_of_any_size_is_due_at_its_age_once_all_is_read() -> None:
    cutter, later = windower(), NOON + timedelta(seconds=60)
    assert cutter.due(later) is None
    feed(cutter, review("alone"))
    assert cutter.due(None) is None
    assert cutter.due(later) == Closing(Trigger.AGE, "oldest review is 60.0 s old, of 60.0 s")


def test_a_flood_of_repetitions_is_bounded() -> None:
    cutter = windower()
    for offset in range(7):
        cutter.add(offset, review("again"), None)
        assert cutter.due(NOON) is None
    cutter.add(7, review("again"), None)
    assert cutter.due(NOON) == Closing(Trigger.MAX_ROWS, "8 reviews of at most 8")


def test_repetitions_are_set_aside_exact_or_nearly_so() -> None:
    cutter = windower()
    feed(cutter, review("Once."), review("ONCE!"), review(LONG), review(f"{LONG} more"), review("twice"))
    assert reasons(cutter) == [(1, SetAside.DUPLICATE), (3, SetAside.NEAR_DUPLICATE)]
    assert [row.text for row in cutter.window.kept()] == ["Once.", LONG, "twice"]


def test_an_earlier_window_is_remembered_after_a_restart() -> None:
    cutter = windower()
    feed(cutter, *four())
    kept = Signatures.from_bytes(cutter.signatures().to_bytes())
    last = close(cutter)
    restarted = windower()
    restarted.resume(last, [kept])
    for each in (cutter, restarted):
        feed(each, review("number 3"), review("new"), first=4)
    assert reasons(cutter) == reasons(restarted) == [(4, SetAside.DUPLICATE)]
    assert close(cutter) == close(restarted)


def test_the_manifest_says_what_is_in_the_window() -> None:
    cutter = windower()
    feed(cutter, review("one", source="a"), review("two", Side.HOLDOUT, source="b"), review("two"), first=10)
    closed = close(cutter)
    assert (closed.window_id, closed.sequence, closed.first_offset, closed.last_offset) == ("u-0000000010", 0, 10, 12)
    assert (closed.reviews, closed.kept, [row.offset for row in closed.set_aside]) == (3, 2, [12])
    assert (closed.sides[Side.TRAIN], closed.sides[Side.HOLDOUT], closed.sources) == (1, 1, {"a": 1, "b": 1})
    assert (closed.origins, closed.trigger, closed.trigger_detail) == ({"0": (7, 7)}, Trigger.COUNT, "enough")


def test_what_is_archived_is_what_is_kept_and_what_later_windows_need() -> None:
    archive = Archive(Settings.model_validate({"archive": {"url": "memory://unlabeled-windower"}}))
    cutter = windower()
    feed(cutter, review("one"), review("one"), review("two", Side.HOLDOUT))
    snapshot = cutter.write(archive)
    assert [(row.offset, row.text, row.side) for row in archive.read_unlabeled(snapshot)] == [
        (0, "one", Side.TRAIN),
        (2, "two", Side.HOLDOUT),
    ]
    assert archive.signatures(snapshot) == cutter.signatures().to_bytes()


def test_a_review_of_a_closed_window_is_refused() -> None:
    cutter = windower()
    feed(cutter, *four())
    close(cutter)
    with pytest.raises(LedgerCorruptError, match=r"reviews\.unlabeled@3 is in a closed window, which ends at 3"):
        feed(cutter, review("again"), first=3)


def test_another_split_is_refused_naming_the_field() -> None:
    cutter = windower()
    feed(cutter, *four())
    last = close(cutter)
    other = SETTINGS.model_copy(update={"split": SplitSettings(holdout_share=450)})
    with pytest.raises(ConfigurationError, match="holdout_share was 200 and is now 450"):
        windower(other).resume(last, ())


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", LONG, f"{LONG} more"]), min_size=1, max_size=30))
def test_kept_and_set_aside_are_the_whole_range_exactly_once(texts: list[str]) -> None:
    cutter = windower()
    feed(cutter, *map(review, texts))
    kept = list(cutter.window.kept())
    closed = close(cutter)
    assert sorted([*(row.offset for row in kept), *(row.offset for row in closed.set_aside)]) == list(range(len(texts)))
    assert (closed.reviews, closed.kept) == (len(texts), len(kept))
    assert closed.kept == sum(closed.sides.values()) == len({row.text for row in kept})
