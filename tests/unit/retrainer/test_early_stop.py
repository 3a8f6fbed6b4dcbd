from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState

from services.retrainer.early_stop import STATE_FILE, EarlyStop, evaluations_since_best


def history(*losses: float) -> list[dict[str, float]]:
    return [entry for loss in losses for entry in ({"loss": 9.0}, {"eval_loss": loss})]


@pytest.mark.parametrize(
    ("losses", "since"), [((), 0), ((0.5,), 0), ((0.5, 0.4), 0), ((0.4, 0.5), 1), ((0.4, 0.5, 0.4), 2)]
)
def test_evaluations_are_counted_from_the_best_one(losses: tuple[float, ...], since: int) -> None:
    assert evaluations_since_best(history(*losses)) == since


@pytest.mark.parametrize(("losses", "stops"), [((0.5, 0.6), False), ((0.5, 0.6, 0.7), True), ((0.5, 0.6, 0.4), False)])
def test_training_stops_when_patience_is_at_an_end(losses: tuple[float, ...], stops: bool) -> None:
    control = TrainerControl()
    EarlyStop(patience=2).on_evaluate(None, TrainerState(log_history=history(*losses)), control)
    assert control.should_training_stop is stops


def test_a_checkpoint_tells_whether_training_ended_with_it(tmp_path: Path) -> None:
    TrainerState(log_history=history(0.5, 0.6)).save_to_json(str(tmp_path / STATE_FILE))
    assert EarlyStop(patience=1).stopped_at(tmp_path)
    assert not EarlyStop(patience=2).stopped_at(tmp_path)
