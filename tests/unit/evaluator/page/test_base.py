"""The page about an adapted base tells all that its decision holds, to people who were not there."""

import pytest

from services.evaluator.bases.gate import decide
from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.verdicts import judged, unusable, without_base
from services.evaluator.page.base import base_page
from services.evaluator.page.words import MEANINGS, figure
from shared.events import BaseCandidate, BaseDecision, CandidateStatus, Verdict
from shared.gate_settings import BaseGateSettings
from tests.unit.evaluator.bases.builders import base_candidate, base_decision, comparison
from tests.unit.evaluator.builders import NOW
from tests.unit.evaluator.page.test_document import HOSTILE, TAGS
from tests.unit.evaluator.page.test_markup import Reader, read

LEDGER = BaseLedger.of([base_decision(1, Verdict.PROMOTE, "1")])
CANDIDATE = base_candidate(2, "2", parent_version="1")
SETTINGS = BaseGateSettings()


def decided(saved: float = 0.5, ledger: BaseLedger = LEDGER) -> BaseDecision:
    return judged(ledger, CANDIDATE, decide(comparison(saved), SETTINGS), (), SETTINGS, NOW)


def page(decision: BaseDecision, candidate: BaseCandidate = CANDIDATE) -> Reader:
    return read(base_page(decision, candidate, {"run in MLflow": "http://127.0.0.1/run"}))


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (decided(), "Base 2 was accepted: later trainings may start from it, in place of base 1."),
        (decided(-0.5), "Base 2 was rejected: base 1 stays in use."),
        (
            decided(0.0),
            "Base 2 is undecided: the held-out reviews cannot tell whether it is better. Base 1 stays",
        ),
        (decided().model_copy(update={"base_before": None}), "in place of the configured base."),
    ],
)
def test_the_page_begins_with_the_verdict_and_holds_each_term_and_number(decision: BaseDecision, sentence: str) -> None:
    found = page(decision).text
    assert sentence in found
    for term in decision.terms:
        assert term.detail in found
        assert MEANINGS[term.name] in found
    for reason in decision.reasons:
        assert reason in found
    for name, value in decision.numbers.items():
        assert name in found
        assert repr(value) in found


def test_both_differences_are_drawn_with_their_intervals() -> None:
    decision = decided()
    written = base_page(decision, CANDIDATE, {})
    assert written.count("<circle") == 2
    assert written.count('<g class="good">') == 2
    assert "90% interval" in written
    assert str(figure(decision.numbers["perplexity_after"])) in written


def test_a_base_that_was_never_asked_has_its_reason_and_no_picture() -> None:
    failed = base_candidate(2, None, status=CandidateStatus.FAILED, reason="out of memory")
    for decision, candidate, says in (
        (unusable(LEDGER, CANDIDATE, "its weights are gone", NOW), CANDIDATE, "unusable: its weights are gone"),
        (without_base(LEDGER, failed, NOW), failed, "The adapted base was rejected"),
    ):
        found = page(decision, candidate)
        assert says in found.text
        assert "svg" not in found.tags


def test_nothing_that_anybody_wrote_is_run() -> None:
    failed = base_candidate(2, None, status=CandidateStatus.FAILED, reason=HOSTILE)
    found = page(without_base(LEDGER, failed, NOW), failed)
    assert HOSTILE in found.text
    assert set(found.tags) <= TAGS
