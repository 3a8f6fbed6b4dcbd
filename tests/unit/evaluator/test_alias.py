"""The alias follows the ledger, whoever moved it."""

from prometheus_client import CollectorRegistry

from services.evaluator.alias import assert_alias, move_alias
from shared.events import Verdict
from shared.metrics import EvaluatorMetrics
from shared.mlflow_calls import MissingError
from tests.unit.evaluator.builders import decision

PROMOTION = decision(2, Verdict.PROMOTE, "2", "1")


class Alias:
    """One alias, and every value that it was given."""

    def __init__(self, version: str | None, gone: str | None = None) -> None:
        self.version, self.gone, self.moves = version, gone, list[str | None]()

    def champion(self) -> str | None:
        return self.version

    def set_champion(self, version: str) -> None:
        if version == self.gone:
            raise MissingError(f"there is no version {version}")
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


def test_a_strangers_value_before_a_promotion_is_counted_and_overwritten() -> None:
    alias, registry = Alias("9"), CollectorRegistry()
    move_alias(alias, PROMOTION, EvaluatorMetrics(registry))
    assert (alias.moves, registry.get_sample_value("tidemill_alias_repairs_total")) == (["2"], 1)


def test_a_champion_deleted_from_mlflow_does_not_end_the_evaluator() -> None:
    alias = Alias(None, gone="2")
    assert (repairs(alias, "2"), alias.moves) == (1, [])


def test_a_rollback_leads_away_from_a_champion_deleted_from_mlflow() -> None:
    alias = Alias(None, gone="2")
    move_alias(alias, decision(3, Verdict.ROLLBACK, "1", "2"), EvaluatorMetrics(CollectorRegistry()))
    assert alias.version == "1"
