"""What is left out of a rebuild is in none of its files, and is not learned again by those that grow from it."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from services.retrainer.history import History
from services.retrainer.machine import Machine
from services.retrainer.plan import DecisionWait, Hardware
from services.retrainer.preparation import Preparation
from services.retrainer.rebuild import Rebuild
from services.retrainer.runs import RunFolder
from shared.archive import Archive, WindowRow
from shared.errors import RecordError
from shared.events import ClosedWindow, Side, Verdict
from shared.registry import Registry
from shared.settings import Settings, load_settings
from tests.unit.retrainer.builders import NOW, SHA, candidate, closed_window, decision, window_id

ROWS = 40
SIDES = (Side.TRAIN, Side.TRAIN, Side.HOLDOUT, Side.CALIBRATION, Side.VALIDATION)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, training={"start": "base", "replay_share": 1.0})


def stored(settings: Settings, sequence: int, sources: Sequence[str] = ("shop", "spam", "shop")) -> ClosedWindow:
    """A window in the archive; every third review comes from spam."""
    first = sequence * 1000
    rows = [
        WindowRow(
            first + place,
            str(place),
            f"review {place}",
            place % 2,
            SIDES[place % 5],
            sources[place % 3],
            None,
            None,
            0,
            first + place,
            NOW,
            None,
        )
        for place in range(ROWS)
    ]
    snapshot = Archive(settings).write(window_id(sequence), rows)
    train = sum(row.side is Side.TRAIN for row in rows)
    return closed_window(sequence, train=train).model_copy(update={"snapshot": snapshot})


def preparation(settings: Settings) -> Preparation:
    hardware = Hardware(device="cpu", precision="fp32")
    machine = Machine(base_folder=settings.home, base_digest=SHA, hardware=hardware)
    registries = [create_autospec(Registry, instance=True) for _ in range(2)]
    return Preparation(settings, Archive(settings), *registries, machine)


def spam(offset: int) -> bool:
    return offset % 1000 % 3 == 1


def offsets(run: RunFolder) -> list[int]:
    return [row.offset for side in ("train", "calibration", "validation") for row in run.rows(side)]


def test_a_rebuild_learns_all_windows_once_from_the_base_without_what_is_left_out(settings: Settings) -> None:
    windows = tuple(stored(settings, sequence) for sequence in range(2))
    run = preparation(settings).prepare_rebuild(Rebuild("rebuild-1", "7", "source=spam", windows=windows), History())
    plan, learned = run.plan(), offsets(run)
    assert plan is not None
    assert (plan.window_id, plan.window_ids) == ("rebuild-1", (window_id(0), window_id(1)))
    assert (plan.start.parents, plan.replay, plan.without) == ((), (), ("source=spam",))
    assert plan.new_rows == len(run.rows("train"))
    expected = [row for row in range(ROWS) if SIDES[row % 5] is not Side.HOLDOUT and not spam(row)]
    assert sorted(learned) == [first + row for first in (0, 1000) for row in expected]


def test_a_window_that_gives_nothing_is_no_part_of_the_plan(settings: Settings) -> None:
    windows = (stored(settings, 0), stored(settings, 1))
    run = preparation(settings).prepare_rebuild(
        Rebuild("rebuild-1", "7", "offsets=1000-1999", windows=windows), History()
    )
    plan = run.plan()
    assert plan is not None
    assert plan.window_ids == (window_id(0),)


def test_a_rebuild_that_was_begun_is_finished_as_it_was_planned(settings: Settings) -> None:
    """Killed after planning; the champion's history has grown, or lost a window, since."""
    windows, work = (stored(settings, 0), stored(settings, 1)), preparation(settings)
    first = work.prepare_rebuild(Rebuild("rebuild-1", "7", "source=spam", windows=windows), History()).plan()
    assert (
        work.prepare_rebuild(Rebuild("rebuild-1", "7", "source=spam", windows=windows[:1]), History()).plan() == first
    )


def test_a_rebuild_that_would_change_nothing_is_refused(settings: Settings) -> None:
    windows = (stored(settings, 0),)
    with pytest.raises(RecordError, match="is source=nobody"):
        preparation(settings).prepare_rebuild(Rebuild("rebuild-1", "7", "source=nobody", windows=windows), History())


def planned_after(settings: Settings, without: tuple[str, ...], *earlier: ClosedWindow) -> RunFolder:
    """A new window's run, with a champion whose line was rebuilt so."""
    history = History()
    champion = candidate(0, version="1").model_copy(update={"without": without})
    for event in (*earlier, champion, decision(0, Verdict.PROMOTE, "1")):
        history.observe(event)
    return preparation(settings).prepare([stored(settings, 5)], history, DecisionWait())


def test_what_a_champion_was_rebuilt_without_is_not_learned_again(settings: Settings) -> None:
    run = planned_after(settings, ("source=spam",), stored(settings, 0))
    again = [offset for offset in offsets(run) if offset < 1000]
    assert again
    assert not any(map(spam, again))


def test_what_a_new_window_brings_is_learned_whatever_was_left_out_before(settings: Settings) -> None:
    run = planned_after(settings, ("source=spam",), stored(settings, 0))
    assert any(spam(offset) for offset in offsets(run) if offset >= 5000)


def test_without_a_rebuild_everything_may_be_learned_again(settings: Settings) -> None:
    run = planned_after(settings, (), stored(settings, 0))
    assert any(spam(offset) for offset in offsets(run) if offset < 1000)


def test_an_earlier_window_of_nothing_else_is_not_learned_again(settings: Settings) -> None:
    run = planned_after(settings, ("source=spam",), stored(settings, 0, sources=("spam", "spam", "spam")))
    plan = run.plan()
    assert plan is not None
    assert plan.replay == ()
