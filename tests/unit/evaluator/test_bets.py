"""The watch's bets are read back as they were made, from a file that somebody else is writing."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.evaluator import bets
from services.evaluator.bets import Bet, bet_of
from services.evaluator.comparison import Flips
from services.evaluator.notebook import Notebook
from shared.monitor_settings import MonitorSettings

FIRST, SECOND = Bet(49, Flips(1, 9, 40), 35, 3.5), Bet(99, Flips(2, 20, 78), 70, 250.0)


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path / "notebook.sqlite", MonitorSettings(kept_rows=1000))
    yield notebook
    notebook.close()


def test_the_bets_against_one_version_in_one_reign_come_in_their_order(notebook: Notebook) -> None:
    notebook.bet(7, {"2": [SECOND, FIRST], "1": [FIRST]}, anew=False)
    notebook.bet(8, {"2": [FIRST]}, anew=False)
    assert bets.read(notebook.path, 7, "2") == (FIRST, SECOND)
    assert bets.read(notebook.path, 7, "9") == ()


def test_a_bet_made_again_is_one_and_a_new_count_takes_the_place_of_the_old(notebook: Notebook) -> None:
    notebook.bet(7, {"2": [FIRST, SECOND]}, anew=False)
    notebook.bet(7, {"2": [FIRST]}, anew=False)
    assert bets.read(notebook.path, 7, "2") == (FIRST, SECOND)
    notebook.bet(7, {"2": [SECOND]}, anew=True)
    assert bets.read(notebook.path, 7, "2") == (SECOND,)


def test_bets_go_with_the_reviews_that_they_are_about(notebook: Notebook) -> None:
    with notebook.transaction():
        for offset in range(1060):
            notebook.note(offset, 0.0, 1, f"review {offset}")
    notebook.bet(7, {"2": [FIRST, SECOND]}, anew=False)
    with notebook.transaction():
        notebook.prune()
    assert bets.read(notebook.path, 7, "2") == (SECOND,)


def test_reading_makes_no_file_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        bets.read(tmp_path / "elsewhere.sqlite", 7, "2")
    assert list(tmp_path.iterdir()) == []


def test_what_a_ledger_keeps_of_a_bet_is_read_back() -> None:
    assert bet_of(SECOND.numbers()) == SECOND
    assert bet_of({}) is None
