"""What a lesson holds, and that its name changes with whatever changes its result."""

from services.control.backtest.lesson import Lesson, make_lesson
from services.control.backtest.recording import cut
from shared.events import Side
from shared.training_settings import TrainingSettings
from tests.unit.control.backtest.builders import recording, row, windows_of

ERAS = cut(recording([row(offset) for offset in range(300)]), windows_of())


def lesson(place: int = 2, quarantined: frozenset[str] = frozenset(), **training: object) -> Lesson:
    return make_lesson(ERAS[place], ERAS[:place], quarantined, TrainingSettings(**training))  # type: ignore[arg-type]


def learned(taught: Lesson) -> dict[str, int]:
    rows = taught.rows[Side.TRAIN]
    return {window_id: sum(each.window_id == window_id for each in rows) for window_id in {r.window_id for r in rows}}


def test_new_rows_are_all_learned_and_earlier_ones_by_share() -> None:
    ids = [era.window.window_id for era in ERAS]
    assert learned(lesson(replay_share=0.5)) == {ids[0]: 10, ids[1]: 10, ids[2]: 40}
    assert learned(lesson(replay_share=0.5, quarantined=frozenset({ids[0]}))) == {ids[1]: 20, ids[2]: 40}
    assert learned(lesson(replay_share=0)) == {ids[2]: 40}


def test_held_out_rows_are_in_no_lesson() -> None:
    held = {each.offset for era in ERAS for each in era.of(Side.HOLDOUT)}
    assert not held & {each.offset for rows in lesson().rows.values() for each in rows}


def test_the_name_changes_with_what_changes_the_result() -> None:
    names = {
        lesson().content(()),
        lesson().content(("parent",)),
        lesson(1).content(()),
        lesson(epochs=1).content(()),
        lesson(seed=18).content(()),
        lesson(replay_share=0.1).content(()),
    }
    assert len(names) == 6


def test_the_name_stays_with_what_does_not() -> None:
    assert lesson().content(()) == lesson(attempts=1, timeout_seconds=1, log_steps=1).content(())
