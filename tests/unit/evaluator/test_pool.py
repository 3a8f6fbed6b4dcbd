"""The rows that decide: the latest, held out, each once, and none from later or distrusted windows."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.pool import HeldOutRow, eligible, held_out, latest_rows
from shared.events import Side
from tests.unit.evaluator.builders import row, snapshot_row, window, window_id

WINDOWS = [window(sequence) for sequence in (2, 0, 3, 1)]


def ids(newest: int, quarantined: frozenset[str] = frozenset()) -> list[str]:
    return [window.window_id for window in eligible(WINDOWS, window_id(newest), quarantined)]


def test_windows_count_up_to_the_candidates_own_newest_first() -> None:
    assert ids(newest=2) == [window_id(2), window_id(1), window_id(0)]


def test_a_quarantined_window_is_left_out() -> None:
    assert ids(newest=3, quarantined=frozenset({window_id(1), window_id(2)})) == [window_id(3), window_id(0)]


def test_the_window_on_trial_is_always_among_them() -> None:
    assert ids(newest=1, quarantined=frozenset({window_id(1)}))[0] == window_id(1)


def test_an_unknown_window_has_no_pool() -> None:
    assert ids(newest=7) == []


def test_only_the_holdout_side_is_taken() -> None:
    rows = [snapshot_row(5, "five"), snapshot_row(6, "six", side=Side.TRAIN), snapshot_row(7, "seven", label=1)]
    assert [(row.offset, row.label) for row in held_out("w", rows)] == [(5, 0), (7, 1)]


def test_a_row_keeps_the_source_that_its_review_came_from() -> None:
    rows = [snapshot_row(5, "five")._replace(source="imdb"), snapshot_row(6, "six")]
    assert [row.source for row in held_out("w", rows)] == ["imdb", None]


def test_the_latest_rows_fill_the_pool_in_the_order_of_the_stream() -> None:
    newest = [row(2, place) for place in range(3)]
    older = [row(1, place) for place in range(3)]
    assert latest_rows([newest, older], 4) == (older[2], *newest)


def test_windows_beyond_a_full_pool_are_not_read() -> None:
    def windows() -> Iterator[list[HeldOutRow]]:
        yield [row(2, place) for place in range(3)]
        raise AssertionError("this window need not be read")

    assert len(latest_rows(windows(), 3)) == 3


def test_the_same_text_is_one_piece_of_evidence_and_the_latest_label_counts() -> None:
    before, after = row(1, 0, text="It floats.", label=0), row(2, 0, text="It floats.", label=1)
    assert latest_rows([[after, row(2, 1)], [before]], 10) == (after, row(2, 1))


@given(
    windows=st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=5),
    size=st.integers(1, 20),
)
def test_no_text_counts_twice_and_the_size_is_a_bound(windows: list[list[int]], size: int) -> None:
    newest_first: list[list[HeldOutRow]] = [
        [row(10 - age, place, text=f"text {text}") for place, text in enumerate(texts)]
        for age, texts in enumerate(windows)
    ]
    pool = latest_rows(newest_first, size)
    keys = [row.key for row in pool]
    different = {row.key for rows in newest_first for row in rows}
    assert len(keys) == len(set(keys)) == min(size, len(different))
    assert [row.offset for row in pool] == sorted(row.offset for row in pool)
