"""Eras are complete, past, trusted and frozen."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.eras import era_rows, eras_of
from services.evaluator.pool import HeldOutRow
from shared.gate_settings import EraSettings
from tests.unit.evaluator.builders import row, window, window_id

TWO_EACH = EraSettings(windows=2, rows=3, keep=10)


def eras(
    closed: int, newest: int, quarantined: tuple[int, ...] = (), settings: EraSettings = TWO_EACH
) -> dict[str, list[int]]:
    windows = [window(sequence) for sequence in reversed(range(closed))]
    distrusted = frozenset(map(window_id, quarantined))
    found = eras_of(windows, window_id(newest), distrusted, settings)
    return {name: [window.sequence for window in members] for name, members in found.items()}


def test_an_era_is_so_many_consecutive_windows() -> None:
    assert eras(closed=7, newest=6) == {"0-1": [0, 1], "2-3": [2, 3], "4-5": [4, 5]}


def test_an_era_counts_for_candidates_of_later_windows_only() -> None:
    assert eras(closed=7, newest=3) == {"0-1": [0, 1]}
    assert eras(closed=7, newest=4) == {"0-1": [0, 1], "2-3": [2, 3]}
    assert eras(closed=7, newest=1) == eras(closed=7, newest=0) == {}


def test_windows_closed_since_change_no_era_of_an_earlier_candidate() -> None:
    assert eras(closed=5, newest=4) == eras(closed=20, newest=4)


def test_quarantined_windows_leave_their_era() -> None:
    assert eras(closed=7, newest=6, quarantined=(1, 4, 5)) == {"0-1": [0], "2-3": [2, 3]}


def test_an_era_with_a_window_missing_is_not_complete() -> None:
    windows = [window(sequence) for sequence in (0, 2, 3, 4)]
    assert list(eras_of(windows, window_id(4), frozenset(), TWO_EACH)) == ["2-3"]


def test_only_the_latest_eras_are_kept() -> None:
    assert list(eras(closed=9, newest=8, settings=EraSettings(windows=2, keep=2))) == ["4-5", "6-7"]
    assert eras(closed=9, newest=8, settings=EraSettings(windows=2, keep=0)) == {}


def test_an_unknown_window_has_no_eras() -> None:
    assert eras(closed=5, newest=99) == {}


def test_an_era_may_be_one_window() -> None:
    assert list(eras(closed=4, newest=3, settings=EraSettings(windows=1))) == ["0-0", "1-1", "2-2"]


@settings(max_examples=50)
@given(newest=st.integers(0, 30), more=st.integers(0, 10), quarantined=st.sets(st.integers(0, 40)))
def test_no_era_holds_the_newest_window_or_a_later_or_a_distrusted_one(
    newest: int, more: int, quarantined: set[int]
) -> None:
    found = eras(closed=newest + 1 + more, newest=newest, quarantined=tuple(quarantined))
    members = [sequence for era in found.values() for sequence in era]
    assert all(sequence < newest and sequence not in quarantined for sequence in members)
    assert members == sorted(set(members))


FIRST, SECOND = [[row(sequence, place) for place in range(6)] for sequence in (0, 1)]


def test_the_rows_with_the_lowest_keys_are_chosen_in_the_order_of_the_stream() -> None:
    lowest = sorted([*FIRST, *SECOND], key=lambda row: row.key)[:4]
    assert era_rows([FIRST, SECOND], 4) == tuple(sorted(lowest, key=lambda row: row.offset))


@given(st.permutations(FIRST), st.integers(1, 12))
def test_the_rows_do_not_depend_on_how_they_are_read(shuffled: list[HeldOutRow], size: int) -> None:
    assert era_rows([shuffled, SECOND], size) == era_rows([FIRST, SECOND], size)
    assert len(era_rows([FIRST, SECOND], size)) == size


def test_the_same_text_counts_once_with_its_latest_label() -> None:
    before, after = row(0, 0, text="It floats.", label=0), row(1, 0, text="It floats.", label=1)
    assert era_rows([[before], [after]], 10) == (after,)
