"""The alias follows the ledger, whoever moved it."""

from prometheus_client import CollectorRegistry

from services.evaluator.alias import assert_alias, move_alias
from shared.events import Verdict
from shared.metrics import EvaluatorMetrics
from tests.unit.evaluator.builders import decision

PROMOTION = decision(2, Verdict.PROMOTE, "2", "1")


class Alias:
    """One alias, and every value that it was given."""

    def __init__(self, version: str | None) -> None:
        self.version, self.moves = version, list[str | None]()

    def champion(self) -> str | None:
        return self.version

    def set_champion(self, version: str) -> None:
        self.version = version
        self.moves.append(version)

    def clear_champion(self) -> None:
        self.version = None
        self.moves.append(None)


def repairs(alias: Alias, champion: str | None) -> float:
    metrics = EvaluatorMetrics(registry := CollectorRegistry())
    assert_alias(alias, champion, metrics)
    return registry.get_sample_value("tidemill_alias_repairs_total") or 0.0


def test_a_true_alias_is_left_alone() -> None:
    alias = Alias("1")
    assert (repairs(alias, "1"), alias.moves) == (0, [])


def test_a_strangers_value_is_repaired_and_counted() -> None:
    alias = Alias("9")
    assert (repairs(alias, "1"), alias.moves) == (1, ["1"])


def test_without_a_champion_the_alias_names_nothing() -> None:
    alias = Alias("9")
    assert (repairs(alias, None), alias.version) == (1, None)


def test_a_promotion_moves_the_alias_once() -> None:
    alias = Alias("1")
    for _ in range(2):
        move_alias(alias, PROMOTION, EvaluatorMetrics(CollectorRegistry()))
    assert alias.moves == ["2"]


def test_a_promotion_starts_from_the_champion_that_it_was_made_against() -> None:
    alias = Alias("9")
    move_alias(alias, PROMOTION, EvaluatorMetrics(CollectorRegistry()))
    assert alias.moves == ["1", "2"]
