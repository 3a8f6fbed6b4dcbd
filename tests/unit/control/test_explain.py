"""What the command says of a version and of a window, from topics and registry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from rich.console import Console

from services.control import explain as explanations
from services.control.explain import candidate_of, explain, explain_window, is_version, picture, window_picture
from services.control.session import RefusedError, Session
from shared.events import CandidateStatus, CommandKind, Verdict
from shared.registry import ModelVersion, Registry
from shared.settings import load_settings
from tests.unit.evaluator.builders import NOW, candidate, command, decision, lineage, window, window_id

LEDGER = [
    decision(1, Verdict.PROMOTE, "1", None, window_id=window_id(0)),
    decision(2, Verdict.PROMOTE, "2", "1", window_id=window_id(1)),
    decision(3, Verdict.ROLLBACK, "1", "2", decided_by="watch", reasons=("proven worse",)),
    decision(4, Verdict.REJECT, None, "1", window_id=window_id(2), quarantined=True, reasons=("window quarantined",)),
]
DISTRUSTED = candidate(2, None, status=CandidateStatus.DISTRUSTED, reason="80% suspicious", model_digest=None)
MADE = [candidate(0, "1"), candidate(1, "2"), DISTRUSTED]
RELEASE = command(CommandKind.RELEASE_WINDOW, window_id(2))

Known = Callable[..., Any]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session on a stream of three windows, the last one distrusted; version 2 was rolled back to 1."""
    topics = {"windows": [window(number) for number in range(3)], "candidates": MADE, "decisions": LEDGER}
    for name, events in (topics | {"commands": [RELEASE]}).items():
        monkeypatch.setattr(explanations, name, lambda settings, events=events: list(events))
    registry = create_autospec(Registry, instance=True)
    registry.version.return_value = ModelVersion("1", "run-1", "source", lineage(window(0)).to_tags(), NOW)
    registry.run_url.return_value = registry.version_url.return_value = "http://127.0.0.1/"
    opened = create_autospec(Session, instance=True)
    opened.registry.return_value = registry
    opened.settings = load_settings(home=tmp_path)
    return opened


def shown(what: Any) -> str:
    console = Console(width=200, record=True, file=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_names_of_windows_and_of_orders_are_no_versions() -> None:
    assert [is_version(name) for name in ("3", "12", window_id(0), "rebuild-abc")] == [True, True, False, False]


def test_a_version_tells_of_its_rollbacks_apart_from_its_decisions(session: Any) -> None:
    facts = explain(session, "1")
    assert [entry.number for entry in facts["decisions"]] == [1]
    assert [entry.number for entry in facts["rollbacks"]] == [3]
    text = shown(picture(facts))
    assert "2 -> 1" in text
    assert "watch" in text
    assert "proven worse" in text


def test_a_window_tells_what_came_of_it(session: Any) -> None:
    facts = explain_window(session, window_id(1))
    assert (facts["version"], [entry.number for entry in facts["decisions"]]) == ("2", [2])
    text = shown(window_picture(window_id(1), facts))
    assert "gave version 2" in text
    assert "reviews.curated offsets 1000-1999" in text


def test_a_distrusted_window_tells_why_and_who_released_it(session: Any) -> None:
    facts = explain_window(session, window_id(2))
    assert (facts["version"], facts["quarantined"], facts["released"]) == (None, False, [RELEASE])
    text = shown(window_picture(window_id(2), facts))
    assert "gave no model, distrusted: 80% suspicious" in text
    assert "released by ann" in text


def test_a_window_that_nobody_released_is_quarantined(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "commands", lambda settings: [])
    facts = explain_window(session, window_id(2))
    assert facts["quarantined"]
    assert "quarantined: not replayed" in shown(window_picture(window_id(2), facts))


def test_an_unknown_window_is_refused_with_the_latest_that_there_are(session: Any) -> None:
    with pytest.raises(RefusedError, match=f"w-7 is neither .* latest: {window_id(0)}, {window_id(1)}, {window_id(2)}"):
        explain_window(session, "w-7")


def test_a_window_that_a_rebuild_learned_again_keeps_its_own_candidate() -> None:
    rebuilt = candidate(0, "9", window_id="rebuild-1", window_ids=(window_id(0), window_id(1)), rebuild_of="2")
    assert candidate_of([rebuilt, *MADE], window_id(1)) == MADE[1]
    assert candidate_of([rebuilt], window_id(1)) is None
    assert candidate_of([rebuilt], "rebuild-1") == rebuilt
