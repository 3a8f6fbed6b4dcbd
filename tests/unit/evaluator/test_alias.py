"""An alias follows its ledger, whoever moved it."""

import pytest
from prometheus_client import CollectorRegistry, Counter

from services.evaluator.alias import assert_alias, move_alias, show_challenger
from shared.mlflow_calls import MissingError
from shared.registry import BASE, CHALLENGER, CHAMPION


class Alias:
    """One alias, and every value that it was given."""

    def __init__(self, version: str | None, gone: str | None = None, name: str = CHAMPION) -> None:
        self.version, self.gone, self.name, self.moves = version, gone, name, list[str | None]()

    def aliased(self, alias: str) -> str | None:
        assert alias == self.name
        return self.version

    def set_alias(self, alias: str, version: str) -> None:
        assert alias == self.name
        if version == self.gone:
            raise MissingError(f"there is no version {version}")
        self.version = version
        self.moves.append(version)

    def clear_alias(self, alias: str) -> None:
        assert alias == self.name
        self.version = None
        self.moves.append(None)


@pytest.fixture
def repairs() -> Counter:
    return Counter("repairs", "Times.", registry=CollectorRegistry())


def count(repairs: Counter) -> float:
    (counted,) = (sample.value for sample in next(iter(repairs.collect())).samples if sample.name == "repairs_total")
    return counted


@pytest.mark.parametrize("name", [CHAMPION, BASE])
def test_a_true_alias_is_left_alone(name: str, repairs: Counter) -> None:
    assert_alias(alias := Alias("1", name=name), name, "1", repairs)
    assert (count(repairs), alias.moves) == (0, [])


@pytest.mark.parametrize("name", [CHAMPION, BASE])
def test_a_strangers_value_is_repaired_and_counted(name: str, repairs: Counter) -> None:
    assert_alias(alias := Alias("9", name=name), name, "1", repairs)
    assert (count(repairs), alias.moves) == (1, ["1"])


def test_without_a_champion_the_alias_names_nothing(repairs: Counter) -> None:
    assert_alias(alias := Alias("9"), CHAMPION, None, repairs)
    assert (count(repairs), alias.version) == (1, None)


def test_a_promotion_moves_the_alias_once(repairs: Counter) -> None:
    alias = Alias("1")
    for _ in range(2):
        move_alias(alias, CHAMPION, "1", "2", repairs)
    assert (count(repairs), alias.moves) == (0, ["2"])


def test_a_strangers_value_before_a_promotion_is_counted_and_overwritten(repairs: Counter) -> None:
    move_alias(alias := Alias("9"), CHAMPION, "1", "2", repairs)
    assert (alias.moves, count(repairs)) == (["2"], 1)


def test_a_champion_deleted_from_mlflow_does_not_end_the_evaluator(repairs: Counter) -> None:
    assert_alias(alias := Alias(None, gone="2"), CHAMPION, "2", repairs)
    assert (count(repairs), alias.moves) == (1, [])


def test_a_rollback_leads_away_from_a_champion_deleted_from_mlflow(repairs: Counter) -> None:
    move_alias(alias := Alias(None, gone="2"), CHAMPION, "2", "1", repairs)
    assert alias.version == "1"


def test_the_newest_that_waits_is_shown_once_and_nobody_when_none_does() -> None:
    alias = Alias(None, name=CHALLENGER)
    for waiting in (["7"], ["7", "8"], ["7", "8"], []):
        show_challenger(alias, waiting)
    assert alias.moves == ["7", "8", None]


def test_one_that_waits_and_was_deleted_from_mlflow_is_not_shown() -> None:
    show_challenger(alias := Alias(None, gone="7", name=CHALLENGER), ["7"])
    assert alias.moves == []
