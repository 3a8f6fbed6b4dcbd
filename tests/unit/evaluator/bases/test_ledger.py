"""The ledger of bases says which base is in use, and never guesses."""

from typing import Any

import pytest

from services.evaluator.bases.ledger import BaseLedger
from shared.errors import LedgerCorruptError
from shared.events import BaseDecision, Verdict
from tests.unit.evaluator.bases.builders import base_decision, text_window_id

ACCEPTED = base_decision(1, Verdict.PROMOTE, "1")
UNDECIDED = base_decision(2, Verdict.UNDECIDED, "2", "1")
REJECTED = base_decision(3, Verdict.REJECT, "3", "1")


def ledger(*decisions: BaseDecision) -> BaseLedger:
    return BaseLedger.of(decisions)


def test_an_empty_ledger_leaves_the_configured_base_in_use() -> None:
    assert (ledger().number, ledger().base, ledger().needed_versions) == (0, None, frozenset())


def test_only_an_accepted_base_comes_into_use() -> None:
    assert ledger(ACCEPTED, UNDECIDED, REJECTED).base == "1"
    assert ledger(ACCEPTED, base_decision(2, Verdict.PROMOTE, "2", "1")).base == "2"


def test_only_the_base_in_use_is_needed_any_more() -> None:
    assert ledger(ACCEPTED, UNDECIDED, REJECTED).needed_versions == {"1"}


def test_an_adaptation_that_failed_is_an_entry_without_version() -> None:
    found = ledger(ACCEPTED, base_decision(2, Verdict.REJECT, None, "1"))
    assert (found.base, found.settled_versions) == ("1", {"1"})
    assert found.has_decided(text_window_id(2), None)


def test_a_window_and_a_version_are_decided_once() -> None:
    found = ledger(ACCEPTED)
    assert found.has_decided(text_window_id(1), "9")
    assert found.has_decided(text_window_id(9), "1")
    assert not found.has_decided(text_window_id(9), "9")
    assert not found.has_decided(text_window_id(9), None)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"number": 3}, "comes after entry 1"),
        ({"base_before": None}, "takes None for the base in use, which was 1"),
        ({"base_after": "2"}, "puts 2 in use after 1 by the verdict undecided"),
        ({"verdict": Verdict.PROMOTE}, "puts 1 in use after 1 by the verdict promote"),
        ({"verdict": Verdict.PROMOTE, "version": None, "base_after": None}, "puts None in use"),
        ({"version": "1"}, "decides on its version again"),
        ({"window_id": text_window_id(1)}, "decides on its window again"),
    ],
)
def test_an_entry_that_does_not_continue_the_ledger_ends_it(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(LedgerCorruptError, match=says):
        ledger(ACCEPTED, UNDECIDED.model_copy(update=entry))
