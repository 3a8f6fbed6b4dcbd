"""The page of a decision comes from MLflow to a file or is made from the topics, or the command says why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from typer.testing import CliRunner

from services.control import app as commands
from services.control import pages
from services.control.pages import keep_page, keep_rollback_pages, show_page
from services.control.session import RefusedError, Session
from shared.events import Candidate, CandidateStatus, ClosedWindow, Decision, Verdict
from shared.registry import DECISION_PAGE, ModelVersion, Registry, rollback_page
from shared.settings import load_settings
from tests.unit.evaluator.builders import NOW, candidate, decision, window, window_id

PAGE = "<!DOCTYPE html>\n<p>größer</p>\n".encode()

Open = Callable[..., Session]


@pytest.fixture
def session(tmp_path: Path) -> Open:
    """A session whose MLflow knows version 3 of run `run-3`, with the files given."""

    def start(files: dict[str, bytes], run_id: str | None = "run-3") -> Any:
        registry = create_autospec(Registry, instance=True)
        known = ModelVersion("3", run_id, "source", {}, NOW)
        registry.version.side_effect = {"3": known}.get
        registry.versions.return_value = [known]
        registry.run_file.side_effect = lambda run, name: files.get(name) if run == run_id else None
        opened = create_autospec(Session, instance=True)
        opened.registry.return_value = registry
        opened.settings = load_settings(home=tmp_path / "home")
        return opened

    return start


def test_the_page_is_kept_in_the_home_as_mlflow_holds_it(session: Open, tmp_path: Path) -> None:
    kept = keep_page(session({DECISION_PAGE: PAGE}), "3")
    assert kept == tmp_path / "home" / "pages" / "3.html"
    assert kept.read_bytes() == PAGE


def test_the_page_is_written_where_it_is_asked_for(session: Open, tmp_path: Path) -> None:
    assert keep_page(session({DECISION_PAGE: PAGE}), "3", tmp_path / "here.html").read_bytes() == PAGE


def test_a_folder_that_is_not_there_is_said(session: Open, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be written to .*nowhere"):
        keep_page(session({DECISION_PAGE: PAGE}), "3", tmp_path / "nowhere" / "here.html")


def test_an_unknown_version_is_refused_with_those_that_there_are(session: Open) -> None:
    with pytest.raises(RefusedError, match="version 4 is not in the registry; there are: 3"):
        keep_page(session({}), "4")


@pytest.mark.parametrize("run_id", ["run-3", None])
def test_a_version_without_a_page_is_refused_and_nothing_is_written(
    session: Open, tmp_path: Path, run_id: str | None
) -> None:
    with pytest.raises(RefusedError, match="no page of version 3"):
        keep_page(session({"decision.json": b"{}"}, run_id), "3")
    assert not (tmp_path / "home").exists()


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fills what the topics hold."""

    def fill(
        made: tuple[Candidate, ...] = (), ledger: tuple[Decision, ...] = (), windows: tuple[ClosedWindow, ...] = ()
    ) -> None:
        for name, events in (("candidates", made), ("decisions", ledger), ("windows", windows)):
            monkeypatch.setattr(pages.history, name, lambda settings, events=events: list(events))

    return fill


def without_model(status: CandidateStatus, run_id: str | None = None) -> Candidate:
    return candidate(1, None, status=status, reason="a good reason", run_id=run_id, model_digest=None)


def rejected(**more: Any) -> Decision:
    return decision(1, Verdict.REJECT, None, "3", reasons=("training failed: a good reason",), **more)


def test_the_page_of_a_window_that_gave_a_version_is_that_versions(
    session: Open, topics: Callable[..., None], tmp_path: Path
) -> None:
    topics((candidate(1, "3"),))
    kept = keep_page(session({DECISION_PAGE: PAGE}), window_id(1))
    assert kept == tmp_path / "home" / "pages" / f"{window_id(1)}.html"
    assert kept.read_bytes() == PAGE


def test_the_page_of_a_window_merged_into_another_is_that_of_what_came_of_both(
    session: Open, topics: Callable[..., None]
) -> None:
    topics((candidate(2, "3", window_ids=(window_id(1), window_id(2))),))
    assert keep_page(session({DECISION_PAGE: PAGE}), window_id(1)).read_bytes() == PAGE


def test_the_page_of_a_distrusted_window_is_the_one_in_its_run(session: Open, topics: Callable[..., None]) -> None:
    topics((without_model(CandidateStatus.DISTRUSTED, "run-3"),), (rejected(run_id="run-3", quarantined=True),))
    assert keep_page(session({DECISION_PAGE: PAGE}), window_id(1)).read_bytes() == PAGE


@pytest.mark.parametrize(
    ("status", "ledger", "told"),
    [
        (CandidateStatus.FAILED, (rejected(),), "gave no model: its training failed; version 3 stays in service."),
        (CandidateStatus.DISTRUSTED, (rejected(quarantined=True, run_id="run-3"),), "its labels look wrong"),
        (CandidateStatus.SKIPPED, (), "was passed over: a good reason."),
    ],
)
def test_a_window_without_a_page_in_mlflow_gets_one_from_the_topics(
    session: Open, topics: Callable[..., None], status: CandidateStatus, ledger: tuple[Decision, ...], told: str
) -> None:
    topics((without_model(status),), ledger, (window(0), window(1)))
    page = keep_page(session({}), window_id(1)).read_text()
    assert told in page
    assert "1,000, of which 1,000 were kept" in page


def test_a_window_that_nothing_came_of_yet_is_refused(session: Open, topics: Callable[..., None]) -> None:
    topics(windows=(window(1),))
    with pytest.raises(RefusedError, match="nothing came of it yet"):
        keep_page(session({}), window_id(1))
    topics((without_model(CandidateStatus.FAILED),))
    with pytest.raises(RefusedError, match="not decided yet"):
        keep_page(session({}), window_id(1))


LEDGER = (
    decision(1, Verdict.PROMOTE, "2", None),
    decision(2, Verdict.PROMOTE, "3", "2"),
    decision(3, Verdict.ROLLBACK, "2", "3", decided_by="ana", reasons=("customers complain",)),
    decision(4, Verdict.ROLLBACK, "3", "2", decided_by="bea"),
)


def test_rollbacks_from_and_to_a_version_have_pages_of_their_own(
    session: Open, topics: Callable[..., None], tmp_path: Path
) -> None:
    topics(ledger=LEDGER)
    first, second = keep_rollback_pages(session({rollback_page(4): PAGE}), "3")
    assert (first.name, second.name) == ("rollback-3.html", "rollback-4.html")
    assert "Version 2 was put back in service by ana, in place of version 3." in first.read_text()
    assert "Version 3 was put back" not in first.read_text(), "what came later is on its own page"
    assert second.read_bytes() == PAGE


def test_a_version_that_was_never_rolled_back_has_no_such_pages(session: Open, topics: Callable[..., None]) -> None:
    topics(ledger=LEDGER[:2])
    assert keep_rollback_pages(session({}), "3") == []
    assert keep_rollback_pages(session({}), window_id(1)) == []


def test_the_browser_is_given_the_files_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pages.webbrowser, "open", lambda address: asked.append(address) or False)
    assert not show_page(tmp_path / "a b.html")
    assert asked == [(tmp_path / "a b.html").as_uri()]


@pytest.mark.parametrize("opened", [True, False])
def test_the_command_says_where_the_page_is_and_opens_it_only_when_told(
    session: Open,
    topics: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: bool,
) -> None:
    topics(ledger=LEDGER[:3])
    asked: list[str] = []
    monkeypatch.setattr(pages.webbrowser, "open", lambda address: asked.append(address) or True)
    monkeypatch.setattr(commands, "Session", lambda *arguments: session({DECISION_PAGE: PAGE}))
    file = tmp_path / "page.html"
    found = CliRunner().invoke(commands.app, ["explain", "3", "--page", str(file), *["--open"] * opened])
    assert found.exit_code == 0
    assert file.read_bytes() == PAGE
    rollback = tmp_path / "home" / "pages" / "rollback-3.html"
    assert asked == [file.as_uri(), rollback.as_uri()] * opened
    assert f"Page of 3: {file}" in capsys.readouterr().out + found.output
