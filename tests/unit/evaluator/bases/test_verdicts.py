"""Entries say whom they are about, what follows, and why."""

from services.evaluator.bases.gate import decide
from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.verdicts import judged, unusable, without_base
from shared.events import BaseDecision, CandidateStatus, Verdict
from shared.gate_settings import BaseGateSettings
from tests.unit.evaluator.bases.builders import base_candidate, base_decision, comparison
from tests.unit.evaluator.builders import DIGEST, NOW

LEDGER = BaseLedger.of([base_decision(1, Verdict.PROMOTE, "1")])
CANDIDATE = base_candidate(2, "2", parent_version="1")
SETTINGS = BaseGateSettings()


def entry(saved: float = 0.5, unreadable: tuple[str, ...] = ()) -> BaseDecision:
    return judged(LEDGER, CANDIDATE, decide(comparison(saved), SETTINGS), unreadable, SETTINGS, NOW)


def test_an_accepted_base_takes_the_place_of_the_one_before() -> None:
    found = entry()
    assert (found.number, found.verdict, found.base_before, found.base_after) == (2, Verdict.PROMOTE, "1", "2")
    assert (found.version, found.window_id, found.run_id) == ("2", CANDIDATE.window_id, "run-2")
    assert found.model_digest == DIGEST
    assert BaseGateSettings.model_validate(found.policy) == SETTINGS
    assert LEDGER.after(found).base == "2"


def test_every_other_verdict_leaves_the_base_in_use() -> None:
    for found in (entry(0.0), entry(-0.5), unusable(LEDGER, CANDIDATE, "its weights are gone", NOW)):
        assert (found.base_before, found.base_after) == ("1", "1")
        assert LEDGER.after(found).base == "1"


def test_a_base_that_was_not_compared_with_the_one_in_use_says_so() -> None:
    """It grew from one that is undecided."""
    grown = CANDIDATE.model_copy(update={"parent_version": "7"})
    found = judged(LEDGER, grown, decide(comparison(), SETTINGS), (), SETTINGS, NOW)
    assert found.reasons[-1] == "compared with base 7, which it grew from, not with base 1, which is in use"
    assert not any("which it grew from" in reason for reason in entry().reasons)


def test_rows_that_could_not_be_read_are_named() -> None:
    assert entry(unreadable=("u-1", "w-2")).reasons[-2:] == (
        "judged without u-1, whose snapshot cannot be read",
        "judged without w-2, whose snapshot cannot be read",
    )


def test_a_base_that_could_not_be_asked_is_rejected_with_the_reason() -> None:
    found = unusable(LEDGER, CANDIDATE, "its weights are gone", NOW)
    assert (found.verdict, found.version, found.reasons) == (Verdict.REJECT, "2", ("unusable: its weights are gone",))


def test_an_adaptation_that_failed_is_rejected_with_its_reason() -> None:
    failed = base_candidate(2, None, status=CandidateStatus.FAILED, reason="out of memory", run_id="run-2")
    found = without_base(LEDGER, failed, NOW)
    assert (found.verdict, found.version, found.run_id) == (Verdict.REJECT, None, "run-2")
    assert found.reasons == ("adaptation failed: out of memory",)
