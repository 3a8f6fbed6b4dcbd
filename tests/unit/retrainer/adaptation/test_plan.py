import random
from pathlib import Path

import pytest

from services.retrainer.adaptation.plan import AdaptationPlan, make_adaptation_plan, text_quotas
from services.retrainer.plan import DecisionWait, Hardware, StartPoint
from shared.settings import Settings, load_settings
from shared.training_settings import AdaptationSettings, TrainingSettings
from tests.unit.retrainer.adaptation.builders import adaptation_plan, text_id, unlabeled_window
from tests.unit.retrainer.builders import NOW, SHA, closed_window, window_id


def made(settings: Settings) -> AdaptationPlan:
    return make_adaptation_plan(
        [unlabeled_window(2), unlabeled_window(3, train=0)],
        {text_id(0): (5, 9)},
        {text_id(0): unlabeled_window(0)},
        [(closed_window(1), (1003, 1004))],
        start=StartPoint(base="tiny", base_digest=SHA),
        settings=settings,
        hardware=Hardware(device="cpu", precision="fp32"),
        decision_wait=DecisionWait(),
        code_version="test",
        now=NOW,
    )


def test_a_plan_names_all_windows_and_what_each_gives() -> None:
    plan = made(load_settings())
    assert (plan.window_id, plan.window_ids) == (text_id(3), (text_id(2), text_id(3)))
    assert (plan.new_rows, plan.replay_rows, plan.probe_rows) == (100, 2, 2)
    assert (plan.replay_window_ids, plan.probe_window_ids) == ((text_id(0),), (window_id(1),))
    assert plan.labels == ("negative", "positive")


def test_a_plan_read_back_is_the_same_plan() -> None:
    plan = made(load_settings())
    again = AdaptationPlan.model_validate_json(plan.model_dump_json())
    assert (again, again.sha256()) == (plan, plan.sha256())


def test_each_newest_window_seeds_its_own() -> None:
    first, other = made(load_settings()), made(load_settings(training={"seed": 18}))
    assert first.seed == made(load_settings()).seed != other.seed


def test_head_body_and_probe_are_trained_as_their_settings_say(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    training = TrainingSettings(epochs=5, learning_rate=0.5, processes=4, batch_rows=8)
    adaptation = AdaptationSettings(epochs=2, learning_rate=0.2, head_epochs=1, head_learning_rate=0.1)
    plan = adaptation_plan(tmp_path, 10, training, adaptation)
    head, body, probe = plan.of_head(), plan.of_body(), plan.of_probe("b" * 64)
    assert [(each.epochs, each.learning_rate) for each in (head, body, probe.training)] == [
        (1, 0.1),
        (2, 0.2),
        (5, 0.5),
    ]
    assert [each.processes for each in (head, body, probe.training)] == [1, 1, 1]
    assert (probe.start.base_digest, probe.start.parents, probe.seed) == ("b" * 64, (), plan.seed)


@pytest.mark.parametrize(("share", "rows"), [(0.0, 0), (0.5, 75), (2.0, 300)])
def test_earlier_texts_are_learned_again_by_their_share_of_the_new_ones(share: float, rows: int) -> None:
    new = [unlabeled_window(2, train=100), unlabeled_window(3, train=50)]
    earlier = {text_id(number): unlabeled_window(number, train=200) for number in range(2)}
    quotas = text_quotas(new, earlier, (), AdaptationSettings(replay_share=share), random.Random(1))
    assert sum(quotas.values()) == rows


@pytest.mark.parametrize(("bound", "again"), [(5000, 120), (30, 30)])
def test_texts_of_undecided_bases_are_learned_again_besides_up_to_a_bound(bound: int, again: int) -> None:
    """Whole, however many windows the base in use has learned."""
    earlier = {text_id(number): unlabeled_window(number, train=60) for number in range(20)}
    unsettled = {text_id(3), text_id(19)}
    adaptation = AdaptationSettings(replay_share=0.5, unsettled_rows=bound)
    quotas = text_quotas([unlabeled_window(20, train=100)], earlier, unsettled, adaptation, random.Random(1))
    assert sum(quotas.get(window_id, 0) for window_id in unsettled) == again
    assert sum(quotas.values()) == again + 50
