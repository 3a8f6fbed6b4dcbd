"""Old weights go; those that may be served again stay."""

from dataclasses import dataclass

from services.evaluator.ledger import Ledger
from services.evaluator.retention import expendable
from shared.events import Verdict
from tests.unit.evaluator.builders import decision

LEDGER = Ledger.of(
    [
        decision(1, Verdict.PROMOTE, "1", None),
        decision(2, Verdict.PROMOTE, "2", "1"),
        decision(3, Verdict.PROMOTE, "3", "2"),
        *(decision(number, Verdict.REJECT, str(number), "3") for number in range(4, 9)),
    ]
)


@dataclass(frozen=True)
class Version:
    version: str
    has_weights: bool = True
    is_duplicate: bool = False


def versions(*numbers: int) -> list[Version]:
    return [Version(str(number)) for number in numbers]


NEWEST_FIRST = versions(8, 7, 6, 5, 4, 3, 2, 1)


def test_the_newest_the_champion_and_the_one_before_are_kept() -> None:
    assert expendable(NEWEST_FIRST, LEDGER, keep=2) == ["6", "5", "4", "1"]


def test_after_a_rollback_the_champion_of_before_can_go_but_not_the_one_below() -> None:
    rolled_back = LEDGER.after(decision(9, Verdict.ROLLBACK, "2", "3"))
    assert expendable(NEWEST_FIRST, rolled_back, keep=2) == ["6", "5", "4", "3"]


def test_a_version_that_waits_for_its_decision_is_kept() -> None:
    assert expendable(versions(11, 10, 9, 8), LEDGER, keep=1) == ["8"]


def test_weights_that_are_gone_and_files_shared_with_another_version_are_passed_over() -> None:
    found = [Version("8"), Version("7", has_weights=False), Version("6", is_duplicate=True), Version("5")]
    assert expendable(found, LEDGER, keep=1) == ["5"]
