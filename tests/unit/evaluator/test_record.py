"""The tag on a version is the whole decision, and a restart takes it up only if it still continues the ledger."""

from collections.abc import Mapping
from typing import Any

import pytest

from services.evaluator.ledger import Ledger
from services.evaluator.record import SITTING_TAG, decision_tags, run_metrics, sitting_tag, tagged_sitting
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
MLFLOWS_BOUND = 100_000
SNAPSHOTS = {WINDOW.window_id: WINDOW.snapshot.sha256}


def taken_up(tagged: Decision, ledger: Ledger, snapshots: Mapping[str, str] = SNAPSHOTS) -> Decision | None:
    tags = lineage(WINDOW).to_tags() | decision_tags(tagged) | sitting_tag([tagged])
    return next(iter(tagged_sitting(tags, ledger, CANDIDATE, snapshots)), None)


def test_a_tagged_decision_comes_back_whole() -> None:
    assert taken_up(FULL, LEDGER) == FULL


def test_a_version_without_tag_has_no_decision() -> None:
    assert tagged_sitting({}, LEDGER, CANDIDATE, SNAPSHOTS) == ()


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
    assert tagged_sitting(sitting_tag([FULL]), LEDGER, CANDIDATE, SNAPSHOTS) == ()


def test_a_strangers_tag_is_not_taken_for_a_decision() -> None:
    tags = {SITTING_TAG: '[{"verdict": "promote"}]'}
    assert tagged_sitting(tags, LEDGER, CANDIDATE, SNAPSHOTS) == ()


def test_a_sitting_comes_back_whole_and_in_its_order() -> None:
    other = "w-0000009000"
    room = LEDGER.after(decision(2, Verdict.UNDECIDED, "9", "1", window_id=other))
    entries = (FULL.model_copy(update={"number": 3}), decision(4, Verdict.REJECT, "9", "2", window_id=other))
    tags = lineage(WINDOW).to_tags() | sitting_tag(entries)
    assert tagged_sitting(tags, room, CANDIDATE, SNAPSHOTS) == entries


def test_tags_of_a_full_sitting_fit_into_mlflow() -> None:
    assert all(len(value) < MLFLOWS_BOUND for value in sitting_tag([FULL] * 4).values())


def test_the_runs_metrics_name_rows_and_model() -> None:
    assert run_metrics(FULL) == {"pool/challenger/accuracy": 0.75, "gate/wins": 5.0}
