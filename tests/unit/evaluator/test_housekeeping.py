"""Weights go one version a step, and a store that will not let go of them ends nothing."""

from collections.abc import Sequence

import pytest

from services.evaluator.housekeeping import Housekeeping
from shared.errors import RegistryRefusedError, RegistryUnavailableError
from tests.unit.evaluator.test_retention import LEDGER, NEWEST_FIRST, Version


class Store:
    """Versions with weights, one of which may not be deletable."""

    def __init__(self, stuck: str | None = None, failure: Exception | None = None) -> None:
        self._stuck, self._failure = stuck, failure
        self.deleted: list[str] = []

    def versions(self) -> Sequence[Version]:
        if self._stuck is None and self._failure is not None:
            raise self._failure
        return [version for version in NEWEST_FIRST if version.version not in self.deleted]

    def delete_weights(self, version: str) -> None:
        if version == self._stuck and self._failure is not None:
            raise self._failure
        self.deleted.append(version)


def tidied(store: Store) -> list[str]:
    housekeeping = Housekeeping(store, keep=2)
    while housekeeping.step(LEDGER):
        pass
    return store.deleted


def test_the_oldest_goes_first_and_one_a_step() -> None:
    store = Store()
    assert Housekeeping(store, keep=2).step(LEDGER)
    assert store.deleted == ["1"]


@pytest.mark.parametrize(
    "failure",
    [RegistryRefusedError("no right"), RegistryUnavailableError("gone"), NotImplementedError(), OSError("read-only")],
)
def test_weights_that_cannot_be_deleted_are_left_and_the_others_go(failure: Exception) -> None:
    assert tidied(Store("4", failure)) == ["1", "5", "6"]


def test_a_registry_that_is_away_is_left_alone() -> None:
    assert tidied(Store(failure=RegistryUnavailableError("gone"))) == []
