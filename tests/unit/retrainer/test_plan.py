from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.retrainer.plan import (
    DecisionWait,
    Hardware,
    ParentVersion,
    Plan,
    StartPoint,
    make_plan,
    plan_seed,
    wanted_replay,
)
from shared.training_settings import HardReplaySettings, TrainingSettings
from tests.unit.retrainer.builders import NOW, SHA, closed_window, window_id

START = StartPoint(base="bundled", base_digest=SHA)


def planned(**changes: object) -> Plan:
    earlier = {window_id(0): closed_window(0), window_id(1): closed_window(1)}
    arguments: dict[str, object] = {
        "start": START,
        "training": TrainingSettings(),
        "hardware": Hardware(device="cpu", precision="bf16"),
        "decision_wait": DecisionWait(window_id=window_id(1), seconds=12.5, decided=True),
        "code_version": "1.2.3",
        "now": NOW,
    }
    windows = [closed_window(2, train=70), closed_window(3, train=30)]
    replay = {window_id(0): (1, 5, 9), window_id(1): (1001,)}
    return make_plan(windows, replay, earlier, **(arguments | changes))  # type: ignore[arg-type]


def test_a_plan_names_all_rows_that_will_be_learned() -> None:
    plan = planned()
    assert plan.window_ids == (window_id(2), window_id(3))
    assert plan.window_id == window_id(3)
    assert (plan.new_rows, plan.replay_rows) == (100, 4)
    assert [replayed.offsets for replayed in plan.replay] == [(1, 5, 9), (1001,)]
    assert plan.replay_window_ids == (window_id(0), window_id(1))


def test_of_hard_rows_the_plan_says_how_many_are_kept_not_which() -> None:
    plan = planned(training=TrainingSettings(replay_share=0.03, replay=HardReplaySettings()))
    assert (plan.replay_kept, plan.replay_rows) == (3, 3)
    assert planned().replay_kept is None


def test_a_plan_survives_the_disk() -> None:
    plan = planned()
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.sha256() == plan.sha256()


def test_any_other_plan_has_another_digest() -> None:
    plans = [
        planned(),
        planned(training=TrainingSettings(learning_rate=2e-4)),
        planned(start=StartPoint(base="bundled", base_digest=SHA, parents=(ParentVersion(version="4", digest=SHA),))),
        planned(now=NOW + timedelta(seconds=1)),
    ]
    assert len({plan.sha256() for plan in plans}) == len(plans)


def test_a_plan_of_a_later_format_is_refused() -> None:
    text = planned().model_dump_json().replace('"plan_version":1', '"plan_version":2')
    with pytest.raises(ValidationError, match="plan_version"):
        Plan.model_validate_json(text)


def test_a_window_without_training_rows_cannot_be_planned() -> None:
    with pytest.raises(ValidationError, match="train_rows"):
        make_plan(
            [closed_window(0, train=0)],
            {},
            {},
            start=START,
            training=TrainingSettings(),
            hardware=Hardware(device="cpu", precision="fp32"),
            decision_wait=DecisionWait(),
            code_version="1",
            now=NOW,
        )


@given(st.integers(0, 2**40), st.integers(0, 10_000))
def test_each_window_has_a_seed_of_its_own_that_numpy_takes(seed: int, sequence: int) -> None:
    assert 0 <= plan_seed(seed, sequence) < 2**32
    assert plan_seed(seed, sequence) == plan_seed(seed, sequence) != plan_seed(seed, sequence + 1)


def test_replay_is_a_share_of_the_new_rows() -> None:
    windows = [closed_window(0, train=70), closed_window(1, train=30)]
    assert wanted_replay(windows, TrainingSettings(replay_share=0.5)) == 50
    assert wanted_replay(windows, TrainingSettings(replay_share=0)) == 0
