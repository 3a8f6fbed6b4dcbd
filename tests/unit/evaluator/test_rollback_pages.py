"""Every rollback of the ledger has its page in the end, in the runs of both versions, whatever fails on the way."""

from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from services.evaluator import rollback_pages
from services.evaluator.bets import Bet
from services.evaluator.comparison import Flips
from services.evaluator.ledger import WATCH, Ledger
from services.evaluator.notebook import Notebook
from services.evaluator.page import document
from services.evaluator.rollback_pages import MOST, RollbackPages
from shared.errors import RegistryRefusedError, RegistryUnavailableError
from shared.events import Verdict
from shared.monitor_settings import MonitorSettings
from shared.registry import Registry, rollback_page
from shared.retry import Stopped
from tests.unit.evaluator.builders import decision

CHAMPIONS = Ledger.of(
    [
        decision(1, Verdict.PROMOTE, "1", None, run_id="run-1"),
        decision(2, Verdict.PROMOTE, "2", "1", run_id="run-2"),
    ]
)
ROLLED_BACK = CHAMPIONS.after(decision(3, Verdict.ROLLBACK, "1", "2", run_id="run-1", decided_by=WATCH))
NAME = rollback_page(3)


class Shelf:
    """A registry that keeps what it is given."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], str] = {}
        self.registry: Any = create_autospec(Registry, instance=True)
        self.registry.version_url.side_effect = lambda version: f"http://127.0.0.1/{version}"
        self.registry.log_text.side_effect = self.keep
        self.registry.run_file.side_effect = lambda run, name: self.files.get((run, name))

    def keep(self, run_id: str, text: str, name: str) -> None:
        self.files[run_id, name] = text


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def written(pages: RollbackPages, ledger: Ledger = ROLLED_BACK) -> int:
    """Lets it write until nothing is due; how many steps that took."""
    steps = 0
    while pages.is_due(ledger):
        pages.step(ledger)
        steps += 1
    return steps


def pages_of(shelf: Shelf, folder: Path) -> RollbackPages:
    return RollbackPages(shelf.registry, folder / "notebook.sqlite")


def test_without_a_rollback_there_is_nothing_to_write(shelf: Shelf, tmp_path: Path) -> None:
    assert written(pages_of(shelf, tmp_path), CHAMPIONS) == 0


def test_the_page_lies_in_the_runs_of_both_versions(shelf: Shelf, tmp_path: Path) -> None:
    assert written(pages_of(shelf, tmp_path)) == 1
    assert shelf.files.keys() == {("run-1", NAME), ("run-2", NAME)}
    page = shelf.files["run-1", NAME]
    assert "Version 1 was put back in service by the watch" in page
    assert "http://127.0.0.1/2" in page


def test_it_shows_what_the_watch_had_seen_in_the_reign_that_ended(shelf: Shelf, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "notebook.sqlite", MonitorSettings())
    notebook.bet(2, {"1": [Bet(49, Flips(1, 30, 19), 15, 900.0)]}, anew=False)
    notebook.bet(3, {"1": [Bet(99, Flips(7, 7, 86), 80, 1.0)]}, anew=False)
    written(pages_of(shelf, tmp_path))
    notebook.close()
    assert "45 of 50" in shelf.files["run-1", NAME]
    assert "polyline" in shelf.files["run-1", NAME]


def test_a_page_that_is_there_is_not_written_again(shelf: Shelf, tmp_path: Path) -> None:
    written(pages_of(shelf, tmp_path))
    shelf.registry.log_text.reset_mock()
    assert written(pages_of(shelf, tmp_path)) == 1
    shelf.registry.log_text.assert_not_called()


def test_killed_between_two_runs_the_next_process_writes_both(shelf: Shelf, tmp_path: Path) -> None:
    def killed(run_id: str, text: str, name: str) -> None:
        shelf.keep(run_id, text, name)
        raise KeyboardInterrupt

    shelf.registry.log_text.side_effect = killed
    with pytest.raises(KeyboardInterrupt):
        written(pages_of(shelf, tmp_path))
    shelf.registry.log_text.side_effect = shelf.keep
    written(pages_of(shelf, tmp_path))
    assert shelf.files.keys() == {("run-1", NAME), ("run-2", NAME)}


def test_a_registry_that_is_away_is_tried_again_after_a_while(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(rollback_pages.time, "monotonic", lambda: now[0])
    shelf.registry.log_text.side_effect = RegistryUnavailableError("gone")
    pages = pages_of(shelf, tmp_path)
    pages.step(ROLLED_BACK)
    assert not pages.is_due(ROLLED_BACK)
    now[0] = rollback_pages.PAUSE_SECONDS
    shelf.registry.log_text.side_effect = shelf.keep
    assert written(pages) == 1
    assert len(shelf.files) == 2


def test_what_the_registry_refuses_is_not_tried_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.registry.log_text.side_effect = RegistryRefusedError("the run is gone")
    assert written(pages_of(shelf, tmp_path)) == 1


def test_a_page_that_cannot_be_made_holds_up_nothing(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "rollback_page", lambda found: 1 / 0)
    assert written(pages_of(shelf, tmp_path)) == 1
    assert shelf.files == {}


def test_a_stop_is_heard(shelf: Shelf, tmp_path: Path) -> None:
    shelf.registry.run_file.side_effect = Stopped
    with pytest.raises(Stopped):
        pages_of(shelf, tmp_path).step(ROLLED_BACK)


def test_of_many_rollbacks_the_latest_have_their_pages_the_newest_first(shelf: Shelf, tmp_path: Path) -> None:
    ledger = CHAMPIONS
    for _ in range(MOST + 3):
        target, before = ("1", "2") if ledger.champion == "2" else ("2", "1")
        ledger = ledger.after(decision(ledger.number + 1, Verdict.ROLLBACK, target, before, run_id=f"run-{target}"))
    assert written(pages_of(shelf, tmp_path), ledger) == MOST
    numbers = list(dict.fromkeys(name for _, name in shelf.files))
    assert numbers == [rollback_page(number) for number in range(ledger.number, ledger.number - MOST, -1)]


def test_versions_without_runs_have_no_place_for_a_page(shelf: Shelf, tmp_path: Path) -> None:
    bare = Ledger.of([decision(1, Verdict.PROMOTE, "1", None), decision(2, Verdict.PROMOTE, "2", "1")])
    assert written(pages_of(shelf, tmp_path), bare.after(decision(3, Verdict.ROLLBACK, "1", "2"))) == 1
    assert shelf.files == {}
