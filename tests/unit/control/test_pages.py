"""The page of a decision comes from MLflow to a file, or the command says why there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from typer.testing import CliRunner

from services.control import app as commands
from services.control import pages
from services.control.pages import keep_page, show_page
from services.control.session import RefusedError, Session
from shared.registry import DECISION_PAGE, ModelVersion, Registry
from shared.settings import load_settings
from tests.unit.evaluator.builders import NOW

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


def test_the_browser_is_given_the_files_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pages.webbrowser, "open", lambda address: asked.append(address) or False)
    assert not show_page(tmp_path / "a b.html")
    assert asked == [(tmp_path / "a b.html").as_uri()]


@pytest.mark.parametrize("opened", [True, False])
def test_the_command_says_where_the_page_is_and_opens_it_only_when_told(
    session: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opened: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pages.webbrowser, "open", lambda address: asked.append(address) or True)
    monkeypatch.setattr(commands, "Session", lambda *arguments: session({DECISION_PAGE: PAGE}))
    file = tmp_path / "page.html"
    found = CliRunner().invoke(commands.app, ["explain", "3", "--page", str(file), *["--open"] * opened])
    assert found.exit_code == 0
    assert file.read_bytes() == PAGE
    assert asked == [file.as_uri()] * opened
    assert f"Page of version 3: {file}" in capsys.readouterr().out + found.output
