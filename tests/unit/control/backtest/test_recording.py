"""Recorded rows cut again: in order, each once, when the triggers say so."""

from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.control.backtest.recording import Era, cut, read_recording
from shared.archive import Archive
from shared.events import Side, Trigger
from shared.settings import AgeTriggerSettings, CountTriggerSettings, Settings
from tests.unit.control.backtest.builders import NOW, recording, row, windows_of


def offsets(era: Era) -> list[int]:
    return [each.offset for each in era.rows]


@given(st.integers(1, 120), st.integers(3, 50), st.sets(st.integers(0, 119)))
def test_every_row_is_in_at_most_one_window_in_its_order(rows: int, count: int, aside: set[int]) -> None:
    kept = [row(offset) for offset in range(rows) if offset not in aside]
    recorded = recording(kept, aside) if kept or aside else None
    eras = cut(recorded, windows_of(CountTriggerSettings(rows=count))) if recorded else []
    cut_rows = [offset for era in eras for offset in offsets(era)]
    assert cut_rows == [each.offset for each in kept][: len(cut_rows)]
    assert [era.window.sequence for era in eras] == list(range(len(eras)))
    assert all(era.window.kept >= count for era in eras)


def test_a_count_closes_at_its_row() -> None:
    eras = cut(recording([row(offset) for offset in range(250)]), windows_of())
    assert [offsets(era) for era in eras] == [[*range(100)], [*range(100, 200)]]
    assert eras[0].window.sides == {Side.TRAIN: 40, Side.HOLDOUT: 40, Side.CALIBRATION: 10, Side.VALIDATION: 10}
    assert eras[0].window.trigger is Trigger.COUNT


def test_an_age_closes_before_the_review_that_came_too_late() -> None:
    rows = [row(offset, seconds=0) for offset in range(60)] + [row(offset, seconds=100) for offset in range(60, 80)]
    eras = cut(recording(rows), windows_of(AgeTriggerSettings(seconds=50)))
    assert [offsets(era) for era in eras] == [[*range(60)]]
    assert eras[0].window.last_published_at == NOW + timedelta(seconds=0)


def test_what_was_set_aside_counts_as_a_review_and_is_no_row() -> None:
    settings = windows_of().model_copy(update={"max_rows": 50})
    eras = cut(recording([row(offset) for offset in range(40)], range(40, 60)), settings)
    assert (eras[0].window.reviews, eras[0].window.kept, eras[0].window.last_offset) == (50, 40, 49)


def test_a_recording_is_what_the_archive_has(tmp_path: Path) -> None:
    archive = Archive(Settings(home=tmp_path))
    rows = [row(offset) for offset in range(4)]
    window = recording(rows).windows[0]
    kept = window.model_copy(update={"snapshot": archive.write(window.window_id, rows)})
    assert read_recording([kept], archive).rows == tuple(rows)
