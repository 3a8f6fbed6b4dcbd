"""What the windower keeps, cuts and remembers, without any broker."""

from datetime import UTC, datetime, timedelta

import pytest

from services.ingestor.duplicates import Signatures
from services.ingestor.triggers import Closing
from services.ingestor.windower import Windower
from shared.errors import ConfigurationError, LedgerCorruptError
from shared.events import (
    ClosedWindow,
    Command,
    CommandKind,
    CuratedReview,
    Origin,
    SetAside,
    Side,
    Snapshot,
    Trigger,
)
from shared.settings import CountTriggerSettings, IngestorSettings, SplitSettings, StreamSettings, WindowSettings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SNAPSHOT = Snapshot(path="windows/x", sha256="0" * 64, size_bytes=1)
SETTINGS = IngestorSettings(window=WindowSettings(triggers=(CountTriggerSettings(rows=4),), min_rows=2, max_rows=8))


def review(text: str, label: int = 0, side: Side = Side.TRAIN, marked_test: bool = False) -> CuratedReview:
    return CuratedReview(
        id="x",
        text=text,
        label=label,
        side=side,
        marked_test=marked_test,
        origin=Origin(partition=0, offset=0),
        published_at=NOON,
    )


def windower(settings: IngestorSettings = SETTINGS) -> Windower:
    return Windower(StreamSettings(), settings)


def feed(cutter: Windower, *reviews: CuratedReview, first: int = 0) -> None:
    for offset, each in enumerate(reviews, start=first):
        cutter.add(offset, each)


def close(cutter: Windower) -> ClosedWindow:
    manifest = cutter.manifest(Closing(Trigger.COUNT, ""), SNAPSHOT, NOON)
    cutter.forget(manifest)
    return manifest


def reasons(cutter: Windower) -> list[tuple[int, SetAside]]:
    return [(row.offset, row.reason) for row in cutter.window.set_aside()]


def four() -> list[CuratedReview]:
    return [review(f"number {number}", label=number % 2) for number in range(4)]


def test_a_full_window_is_due() -> None:
    cutter = windower()
    feed(cutter, *four()[:3])
    assert cutter.due(NOON) is None
    feed(cutter, four()[3], first=3)
    assert cutter.due(NOON) == Closing(Trigger.COUNT, "4 kept rows of 4")


def test_repetitions_contradictions_and_misplaced_test_rows_are_set_aside() -> None:
    cutter = windower()
    feed(
        cutter,
        review("once"),
        review("Once!"),
        review("disputed", 0),
        review("disputed", 1),
        review("secret", marked_test=True),
        review("exam", side=Side.HOLDOUT, marked_test=True),
    )
    assert reasons(cutter) == [
        (1, SetAside.DUPLICATE),
        (2, SetAside.CONFLICT),
        (3, SetAside.CONFLICT),
        (4, SetAside.SPLIT_CONFLICT),
    ]
    assert [row.text for row in cutter.window.kept()] == ["once", "exam"]


def test_windows_follow_each_other() -> None:
    cutter = windower()
    feed(cutter, *four(), first=10)
    first = close(cutter)
    feed(cutter, review("later", 1), first=17)
    second = close(cutter)
    assert [(each.window_id, each.sequence) for each in (first, second)] == [("w-0000000010", 0), ("w-0000000017", 1)]


def test_an_earlier_window_is_remembered_after_a_restart() -> None:
    cutter = windower()
    feed(cutter, *four())
    kept = Signatures.from_bytes(cutter.signatures().to_bytes())
    last = close(cutter)
    restarted = windower()
    restarted.resume(last, [kept])
    for each in (cutter, restarted):
        feed(each, review("number 3", label=1), review("number 2", label=1), review("new"), first=4)
    assert reasons(cutter) == reasons(restarted) == [(4, SetAside.DUPLICATE), (5, SetAside.CONFLICT)]
    assert close(cutter) == close(restarted)


def test_a_review_of_a_closed_window_is_refused() -> None:
    cutter = windower()
    feed(cutter, *four())
    close(cutter)
    with pytest.raises(LedgerCorruptError, match="closed window, which ends at 3"):
        cutter.add(3, review("again"))


def test_a_label_that_the_stream_has_not_is_refused() -> None:
    with pytest.raises(LedgerCorruptError, match="label 2"):
        feed(windower(), review("third class", label=2))


def test_another_split_is_refused_naming_the_field() -> None:
    cutter = windower()
    feed(cutter, *four())
    last = close(cutter)
    other = SETTINGS.model_copy(update={"split": SplitSettings(holdout_share=450)})
    with pytest.raises(ConfigurationError, match="holdout_share was 200 and is now 450"):
        windower(other).resume(last, ())


def command(target: str | None = None) -> Command:
    return Command(
        command_id="c1", kind=CommandKind.CLOSE_WINDOW, target=target, who="ann", why="release day", issued_at=NOON
    )


def test_an_operator_closes_a_window_of_any_size() -> None:
    cutter = windower()
    feed(cutter, review("alone"))
    assert cutter.asked(command()) == Closing(Trigger.OPERATOR, "ann: release day (command c1)")
    assert cutter.asked(command("w-0000000000")) is not None
    manifest = close(cutter)
    assert (manifest.trainable, manifest.not_trainable_because) == (False, "1 training rows, fewer than 2")


def test_an_order_for_an_empty_or_another_window_has_no_effect() -> None:
    cutter = windower()
    assert cutter.asked(command()) is None
    feed(cutter, review("alone"), first=7)
    assert cutter.asked(command("w-0000000000")) is None


def drift(offset: int | None) -> Command:
    target = None if offset is None else str(offset)
    return Command(
        command_id="d1", kind=CommandKind.DRIFT, target=target, who="watch", why="errors rose", issued_at=NOON
    )


def test_drift_closes_the_window_that_holds_it_early() -> None:
    cutter = windower()
    feed(cutter, *four()[:3], first=10)
    assert cutter.asked(drift(11)) == Closing(Trigger.DRIFT, "errors rose (command d1)")


@pytest.mark.parametrize("offset", [9, None])
def test_drift_that_an_earlier_window_holds_closes_no_other(offset: int | None) -> None:
    """So an order that is given twice is carried out once."""
    cutter = windower()
    feed(cutter, *four()[:3], first=10)
    assert cutter.asked(drift(offset)) is None


def test_drift_closes_no_window_that_nothing_can_be_learned_from() -> None:
    cutter = windower()
    assert cutter.asked(drift(0)) is None
    feed(cutter, review("alone"))
    assert cutter.asked(drift(0)) is None
    feed(cutter, review("of the same class"), first=1)
    assert cutter.asked(drift(0)) is None


def test_a_window_of_one_class_closes_at_its_bound_untrainable() -> None:
    cutter = windower()
    for offset in range(7):
        cutter.add(offset, review(f"number {offset}"))
        assert cutter.due(NOON + timedelta(hours=1)) is None
    cutter.add(7, review("number 7"))
    assert cutter.due(NOON) == Closing(Trigger.MAX_ROWS, "8 reviews of at most 8")
