"""`tidemill bases` shows every adaptation with its figures, whatever became of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.control import app as commands
from services.control import bases as listings
from services.control.bases import listing
from services.evaluator.bases.gate import decide
from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.verdicts import judged, without_base
from shared.events import BaseCandidate, BaseDecision, CandidateStatus
from shared.gate_settings import BaseGateSettings
from tests.unit.evaluator.bases.builders import base_candidate, comparison, text_window_id
from tests.unit.evaluator.builders import NOW

FAILED = base_candidate(1, None, status=CandidateStatus.FAILED, reason="out of memory")
ACCEPTED, WAITING = base_candidate(2, "1"), base_candidate(3, "2")


def story() -> tuple[list[BaseCandidate], list[BaseDecision]]:
    """An adaptation that failed, one that was accepted, and one that is not decided yet; and the decisions."""
    failed = without_base(BaseLedger(), FAILED, NOW)
    ledger, settings = BaseLedger.of([failed]), BaseGateSettings()
    accepted = judged(ledger, ACCEPTED, decide(comparison(), settings), (), settings, NOW)
    return [FAILED, ACCEPTED, WAITING], [failed, accepted]


def test_each_adaptation_is_a_row_with_what_the_gate_measured() -> None:
    failed, accepted, waiting = listing(*story())
    assert (failed.version, failed.verdict, failed.reasons) == (None, "reject", ("adaptation failed: out of memory",))
    assert (failed.in_use, accepted.in_use, waiting.in_use) == (False, True, False)
    assert (accepted.windows, accepted.texts, accepted.rows) == ((text_window_id(2),), 200, 2000)
    assert accepted.perplexity_before == pytest.approx(19.85, abs=0.01)
    assert accepted.perplexity_after == pytest.approx(12.04, abs=0.01)
    assert (accepted.accuracy_before, accepted.accuracy_after) == (0.97, 0.99)
    assert (waiting.version, waiting.verdict, waiting.perplexity_after) == ("2", None, None)


def test_a_second_candidate_of_a_window_is_not_shown_as_decided() -> None:
    candidates, ledger = story()
    assert [row.version for row in listing([*candidates, base_candidate(2, "9")], ledger)] == [None, "1", "2"]


def test_without_any_there_are_no_rows() -> None:
    assert listing([], []) == []


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    candidates, ledger = story()
    monkeypatch.setattr(listings.history, "base_candidates", lambda settings: candidates)
    monkeypatch.setattr(listings.history, "base_decisions", lambda settings: ledger)
    return ["--home", str(tmp_path), "bases"]


def test_people_read_before_and_after(told: list[str]) -> None:
    result = CliRunner().invoke(commands.app, told)
    assert result.exit_code == 0
    for text in ("19.85 -> 12.04", "0.9700 -> 0.9900", "waits for its decision", "out of memory"):
        assert text in result.stdout


def test_programs_read_numbers(told: list[str]) -> None:
    result = CliRunner().invoke(commands.app, [*told, "--json"])
    rows = json.loads(result.stdout)
    assert [row["verdict"] for row in rows] == ["reject", "promote", None]
    assert rows[1]["rows"] == 2000
