"""The tag on a version is the whole decision, and a restart takes it up only if it still continues the ledger."""

from collections.abc import Mapping
from typing import Any

import pytest

from services.evaluator.ledger import Ledger
from services.evaluator.record import DECISION_TAG, decision_tags, run_metrics, tagged_decision
from shared.events import Decision, Outcome, Score, TermResult, Verdict
from shared.settings import GateSettings
from tests.unit.evaluator.builders import candidate, decision, lineage, window

LEDGER = Ledger.of([decision(1, Verdict.PROMOTE, "1", None)])
TERM = TermResult(name="safe", outcome=Outcome.PASS, guard=True, value=30.0, detail="evidence 30 reaches 20")
FULL = decision(
    2,
    Verdict.PROMOTE,
    "2",
    "1",
    terms=(TERM,) * 5,
    scores=(Score(model="challenger", rows_name="pool", rows=9, metrics={"accuracy": 0.75}),),
    numbers={"wins": 5.0},
    policy=GateSettings().model_dump(mode="json"),
)
CANDIDATE = candidate(2, "2")
WINDOW = window(2)
SNAPSHOTS = {WINDOW.window_id: WINDOW.snapshot.sha256}


def taken_up(tagged: Decision, ledger: Ledger, snapshots: Mapping[str, str] = SNAPSHOTS) -> Decision | None:
    tags = lineage(WINDOW).to_tags() | decision_tags(tagged)
    return tagged_decision(tags, ledger, CANDIDATE, snapshots)


def test_a_tagged_decision_comes_back_whole() -> None:
    assert taken_up(FULL, LEDGER) == FULL


def test_a_version_without_tag_has_no_decision() -> None:
    assert tagged_decision({}, LEDGER, CANDIDATE, SNAPSHOTS) is None


def test_a_decision_against_another_champion_is_not_finished() -> None:
    """A rollback came in between: the challenger was never compared with the champion of now."""
    second = LEDGER.after(decision(2, Verdict.PROMOTE, "3", "1"))
    assert taken_up(FULL.model_copy(update={"number": 3}), second) is None


def test_a_decision_with_a_number_that_is_taken_is_not_finished() -> None:
    taken = LEDGER.after(decision(2, Verdict.REJECT, "3", "1"))
    assert taken_up(FULL, taken) is None


@pytest.mark.parametrize("other", [{"version": "3"}, {"window_id": "w-0000009000"}, {"model_digest": "e" * 64}])
def test_a_decision_about_another_model_is_not_finished(other: dict[str, Any]) -> None:
    assert taken_up(FULL.model_copy(update=other), LEDGER) is None


@pytest.mark.parametrize("snapshots", [{WINDOW.window_id: "0" * 64}, {}])
def test_a_decision_of_a_stream_that_is_gone_is_not_finished(snapshots: dict[str, str]) -> None:
    """The same window ids after Kafka was made anew, but over other reviews."""
    assert taken_up(FULL, LEDGER, snapshots) is None


def test_a_decision_on_a_version_without_lineage_is_not_finished() -> None:
    assert tagged_decision(decision_tags(FULL), LEDGER, CANDIDATE, SNAPSHOTS) is None


def test_a_strangers_tag_is_not_taken_for_a_decision() -> None:
    tags = {DECISION_TAG: '{"verdict": "promote"}'}
    assert tagged_decision(tags, LEDGER, CANDIDATE, SNAPSHOTS) is None


def test_the_runs_metrics_name_rows_and_model() -> None:
    assert run_metrics(FULL) == {"pool/challenger/accuracy": 0.75, "gate/wins": 5.0}
