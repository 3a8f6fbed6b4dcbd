"""A restart goes on with the decision that was tagged, if it is the one that comes next about this very base."""

from typing import Any
from unittest.mock import create_autospec

import pytest

from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.record import base_papers, tagged_decision
from services.evaluator.record import DECISION_FILE, DECISION_TAG, decision_tags, run_metrics
from shared.errors import RegistryRefusedError
from shared.events import CandidateStatus, Verdict
from shared.exam import EXAM_FOLDER
from shared.registry import DECISION_PAGE, Registry
from tests.unit.evaluator.bases.builders import base_candidate, base_decision

DECISION = base_decision(1, Verdict.PROMOTE, "1")
CANDIDATE = base_candidate(1)
TAGS = decision_tags(DECISION)


def test_the_tagged_decision_is_taken_up_again() -> None:
    assert tagged_decision(TAGS, BaseLedger(), CANDIDATE) == DECISION


def test_without_a_tag_there_is_none() -> None:
    assert tagged_decision({}, BaseLedger(), CANDIDATE) is None


@pytest.mark.parametrize(
    "other", [{"version": "2"}, {"window_id": "u-9"}, {"model_digest": "0" * 64}, {"run_id": "run-of-another-stream"}]
)
def test_another_bases_decision_is_not_taken(other: dict[str, Any]) -> None:
    assert tagged_decision(TAGS, BaseLedger(), CANDIDATE.model_copy(update=other)) is None


def test_a_decision_that_does_not_come_next_is_not_taken() -> None:
    assert tagged_decision(TAGS, BaseLedger.of([base_decision(1, Verdict.REJECT, "7")]), CANDIDATE) is None


def test_a_tag_that_is_no_decision_is_not_taken() -> None:
    assert tagged_decision({DECISION_TAG: '{"number": 1}'}, BaseLedger(), CANDIDATE) is None


def test_the_runs_metrics_are_the_gates_numbers() -> None:
    found = DECISION.model_copy(update={"numbers": {"perplexity_after": 12.5}})
    assert run_metrics(found) == {"gate/perplexity_after": 12.5}


def papers_of(decision: Any, candidate: Any) -> Any:
    registry = create_autospec(Registry, instance=True)
    registry.run_url.return_value = registry.version_url.return_value = "http://127.0.0.1/"
    for paper in base_papers(registry, decision, candidate):
        paper()
    return registry


def test_decision_and_page_lie_in_the_run_and_its_exam_is_left_until_the_entry_is_there() -> None:
    registry = papers_of(DECISION, CANDIDATE)
    assert [call.args[2] for call in registry.log_text.call_args_list] == [DECISION_FILE, DECISION_PAGE]
    registry.delete_folder.assert_not_called()


def test_of_an_adaptation_that_failed_nothing_to_compare_is_kept() -> None:
    failed = base_candidate(1, None, status=CandidateStatus.FAILED, reason="out of memory", run_id="run-1")
    registry = papers_of(base_decision(1, Verdict.REJECT, None, run_id="run-1"), failed)
    registry.delete_folder.assert_called_once_with("run-1", EXAM_FOLDER)


def test_without_a_run_nothing_is_kept() -> None:
    assert base_papers(create_autospec(Registry), DECISION.model_copy(update={"run_id": None}), CANDIDATE) == []


def test_a_page_that_cannot_be_written_does_not_stop_the_ledger() -> None:
    broken = DECISION.model_copy(update={"numbers": {"nats_saved": 0.1}, "policy": {"alpha": "none"}})
    registry = papers_of(broken, CANDIDATE)
    assert [call.args[2] for call in registry.log_text.call_args_list] == [DECISION_FILE]


def test_a_run_that_is_gone_raises_what_the_trial_passes_over() -> None:
    registry = create_autospec(Registry, instance=True)
    registry.log_metrics.side_effect = RegistryRefusedError("no such run")
    with pytest.raises(RegistryRefusedError):
        base_papers(registry, DECISION, CANDIDATE)[0]()
