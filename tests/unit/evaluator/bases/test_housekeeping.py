"""What a decided base was compared with goes, then old weights; what is needed stays, whatever fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from services.evaluator.bases.housekeeping import EXAM_TAG, BaseHousekeeping
from services.evaluator.bases.ledger import BaseLedger
from shared.errors import RegistryRefusedError, RegistryUnavailableError
from shared.events import Verdict
from shared.exam import EXAM_FOLDER
from shared.registry import DELETED
from tests.unit.evaluator.bases.builders import base_decision

# 1 is in use; 7 waits for its decision.
LEDGER = BaseLedger.of(
    [
        base_decision(1, Verdict.PROMOTE, "1"),
        base_decision(2, Verdict.UNDECIDED, "2", "1"),
        base_decision(3, Verdict.UNDECIDED, "3", "1"),
        *(base_decision(number, Verdict.REJECT, str(number), "1") for number in (4, 5, 6)),
    ]
)


@dataclass
class Version:
    version: str
    run_id: str | None
    tags: dict[str, str] = field(default_factory=dict)
    has_weights: bool = True
    is_duplicate: bool = False


class Store:
    """Versions whose runs hold an exam each; one may not be deletable."""

    def __init__(self, stuck: str | None = None, failure: Exception | None = None) -> None:
        self.found = [Version(str(number), f"run-{number}") for number in range(7, 0, -1)]
        self._stuck, self._failure = stuck, failure
        self.done: list[str] = []

    def versions(self) -> Sequence[Version]:
        if self._stuck is None and self._failure is not None:
            raise self._failure
        return self.found

    def delete_folder(self, run_id: str, name: str) -> None:
        assert name == EXAM_FOLDER
        if run_id == self._stuck and self._failure is not None:
            raise self._failure
        self.done.append(run_id)

    def delete_weights(self, version: str) -> None:
        self.done.append(version)
        next(each for each in self.found if each.version == version).has_weights = False

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        next(each for each in self.found if each.version == version).tags |= tags


def tidied(store: Store, keep: int = 2) -> list[str]:
    housekeeping = BaseHousekeeping(store, keep)
    while housekeeping.step(LEDGER):
        pass
    return store.done


def test_exams_of_decided_bases_go_once_and_weights_nobody_needs() -> None:
    store = Store()
    assert tidied(store) == [*(f"run-{number}" for number in (6, 5, 4, 3, 2, 1)), "2", "3", "4", "5"]
    assert tidied(store)[10:] == []


def test_one_thing_goes_a_step() -> None:
    store = Store()
    assert BaseHousekeeping(store, 2).step(LEDGER)
    assert store.done == ["run-6"]


def test_what_a_crash_left_is_found_by_its_missing_tag() -> None:
    store = Store()
    for version in store.found:
        if version.version != "4":
            version.tags[EXAM_TAG] = DELETED
    assert tidied(store, keep=9) == ["run-4"]


@pytest.mark.parametrize(
    "failure",
    [RegistryRefusedError("no right"), RegistryUnavailableError("gone"), NotImplementedError(), OSError("read-only")],
)
def test_an_exam_that_cannot_be_deleted_is_left_and_the_rest_goes(failure: Exception) -> None:
    store = Store("run-5", failure)
    assert tidied(store) == [*(f"run-{number}" for number in (6, 4, 3, 2, 1)), "2", "3", "4", "5"]


def test_a_registry_that_is_away_is_left_alone() -> None:
    assert tidied(Store(failure=RegistryUnavailableError("gone"))) == []
