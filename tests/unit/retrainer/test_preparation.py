"""What is left out of a rebuild is in none of its files, nor learned again; an accepted base is started from once."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from services.retrainer.history import History
from services.retrainer.machine import Machine
from services.retrainer.plan import DecisionWait, Hardware, ParentVersion, Plan
from services.retrainer.preparation import Preparation
from services.retrainer.rebuild import Rebuild
from services.retrainer.runs import RunFolder
from shared.archive import Archive, WindowRow
from shared.errors import RecordError
from shared.events import ClosedWindow, Event, Side, Verdict
from shared.registry import Registry
from shared.settings import Settings, load_settings
from tests.unit.retrainer.adaptation.builders import base_candidate, base_decision
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


BASE = ParentVersion(version="7", digest="b" * 64)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ParentVersion, ...]]:
    """Versions whose files were asked for; they are at hand under their numbers."""
    asked: list[tuple[ParentVersion, ...]] = []

    def folders(self: object, parents: Sequence[ParentVersion]) -> tuple[Path, ...]:
        asked.append(tuple(parents))
        return tuple(Path("/versions") / parent.version for parent in parents)

    monkeypatch.setattr("services.retrainer.preparation.Parents.folders", folders)
    monkeypatch.setattr("services.retrainer.preparation.Parents.at_hand", lambda self, parents: tuple(parents))
    return asked


def accepted() -> list[Event]:
    """Base 7, grown from the configured base, is in use."""
    made = base_candidate(0, BASE.version).model_copy(update={"model_digest": BASE.digest})
    return [made, base_decision(0, BASE.version, Verdict.PROMOTE, BASE.version)]


def promoted(sequence: int, version: str, base_version: str | None = None) -> list[Event]:
    made = candidate(sequence, version=version).model_copy(update={"base_version": base_version})
    return [made, decision(sequence, Verdict.PROMOTE, version)]


def planned(settings: Settings, *events: Event) -> tuple[RunFolder, Plan]:
    """The fifth window's run."""
    history = History()
    for event in events:
        history.observe(event)
    run = preparation(settings).prepare([stored(settings, 5)], history, DecisionWait())
    plan = run.plan()
    assert plan is not None
    return run, plan


def chained(tmp_path: Path, **adaptation: object) -> Settings:
    return load_settings(home=tmp_path, training={"replay_share": 0.5}, adaptation=adaptation)


def test_an_accepted_base_is_started_from_with_more_of_the_earlier_windows(
    tmp_path: Path, opened: list[tuple[ParentVersion, ...]]
) -> None:
    settings = chained(tmp_path, restart_rows=20)
    earlier = [stored(settings, 0), stored(settings, 1)]
    run, plan = planned(settings, *earlier, *promoted(0, "1"), *accepted())
    assert (plan.start.parents, plan.start.adapted_base) == ((), BASE)
    assert (plan.new_rows, plan.replay_rows) == (16, 20)
    assert run.setup().start_folders == (Path("/versions/7"),)
    assert opened[0] == (BASE,)


def test_after_that_the_line_goes_on_and_remembers_its_base(
    tmp_path: Path, opened: list[tuple[ParentVersion, ...]]
) -> None:
    settings = chained(tmp_path, restart_rows=20)
    line = [stored(settings, 0), *promoted(0, "1"), *accepted(), *promoted(1, "2", base_version="7")]
    run, plan = planned(settings, *line)
    assert (plan.start.version, plan.start.base_version, plan.start.adapted_base) == ("2", "7", None)
    assert plan.replay_rows == 8
    assert run.setup().start_folders == (Path("/versions/2"),)


def test_if_what_came_of_it_was_rejected_the_champions_line_goes_on(
    tmp_path: Path, opened: list[tuple[ParentVersion, ...]]
) -> None:
    settings = chained(tmp_path)
    tried = candidate(1, version="2").model_copy(update={"base_version": "7"})
    line = [stored(settings, 0), *promoted(0, "1"), *accepted(), tried, decision(1, Verdict.REJECT, "1")]
    _, plan = planned(settings, *line)
    assert (plan.start.version, plan.start.base_version) == ("1", None)


def test_without_a_restart_an_accepted_base_waits_for_who_starts_from_the_base(
    tmp_path: Path, opened: list[tuple[ParentVersion, ...]]
) -> None:
    settings = chained(tmp_path, restart=False)
    assert planned(settings, *promoted(0, "1"), *accepted())[1].start.version == "1"
    fresh = settings.model_copy(update={"home": tmp_path / "fresh"})
    assert planned(fresh, *accepted())[1].start.adapted_base == BASE


def test_who_always_starts_from_the_base_takes_the_accepted_one(
    settings: Settings, opened: list[tuple[ParentVersion, ...]]
) -> None:
    _, plan = planned(settings, *promoted(0, "1"), *accepted())
    assert (plan.start.parents, plan.start.adapted_base) == ((), BASE)


def test_a_rebuild_starts_from_the_accepted_base(settings: Settings, opened: list[tuple[ParentVersion, ...]]) -> None:
    history = History()
    for event in accepted():
        history.observe(event)
    rebuild = Rebuild("rebuild-1", "7", "source=spam", windows=(stored(settings, 0),))
    run = preparation(settings).prepare_rebuild(rebuild, history)
    plan = run.plan()
    assert plan is not None
    assert plan.start.adapted_base == BASE
    assert run.setup().start_folders == (Path("/versions/7"),)


def test_a_base_grown_from_another_than_the_configured_one_is_not_used(
    tmp_path: Path, opened: list[tuple[ParentVersion, ...]]
) -> None:
    foreign = base_candidate(0, "7", root="c" * 64)
    _, plan = planned(chained(tmp_path), foreign, base_decision(0, "7", Verdict.PROMOTE, "7"))
    assert (plan.start.base_version, plan.start.parents) == (None, ())


def test_an_accepted_base_whose_files_are_gone_stops_nobody(
    tmp_path: Path, opened: list[tuple[ParentVersion, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.retrainer.preparation.Parents.at_hand", lambda self, parents: ())
    line = [stored(chained(tmp_path), 0), *promoted(0, "1"), *accepted()]
    _, plan = planned(chained(tmp_path), *line)
    assert (plan.start.version, plan.start.base_version) == ("1", None)
    fresh = chained(tmp_path / "fresh")
    assert planned(fresh, *accepted())[1].start == plan.start.model_copy(update={"parents": ()})
