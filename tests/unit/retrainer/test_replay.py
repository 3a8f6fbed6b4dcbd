from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.replay import (
    BalancedReplay,
    EarlierRow,
    HardReplay,
    LabelBalancedReplay,
    ReplayPolicy,
    ReservoirReplay,
    build_policy,
    eligible,
    replay_quotas,
    sample,
)
from shared.training_settings import (
    BalancedReplaySettings,
    HardReplaySettings,
    LabelBalancedReplaySettings,
    ReplaySettings,
    ReservoirReplaySettings,
)
from tests.unit.retrainer.builders import closed_window, window_id

COUNTS = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 500), max_size=12)


def test_windows_that_have_enough_give_alike() -> None:
    assert BalancedReplay().quotas({"a": 100, "b": 100, "c": 100}, 30, Random(0)) == {"a": 10, "b": 10, "c": 10}


def test_what_a_small_window_cannot_give_the_others_do() -> None:
    assert BalancedReplay().quotas({"a": 100, "b": 2, "c": 100}, 30, Random(0)) == {"a": 14, "b": 2, "c": 14}


def test_fewer_rows_than_windows_are_spread_by_chance() -> None:
    available = {str(window): 5 for window in range(20)}
    chosen = {tuple(BalancedReplay().quotas(available, 3, Random(seed))) for seed in range(20)}
    assert len(chosen) > 1


@given(COUNTS, st.integers(0, 3000), st.integers())
def test_quotas_give_what_is_wanted_if_it_is_there(available: dict[str, int], wanted: int, seed: int) -> None:
    quotas = BalancedReplay().quotas(available, wanted, Random(seed))
    assert sum(quotas.values()) == min(wanted, sum(available.values()))
    assert all(0 < count <= available[name] for name, count in quotas.items())


@given(COUNTS, st.integers(0, 3000), st.integers())
def test_no_window_gives_less_than_another_unless_it_gives_all(
    available: dict[str, int], wanted: int, seed: int
) -> None:
    quotas = BalancedReplay().quotas(available, wanted, Random(seed))
    partly = [quotas.get(name, 0) for name, count in available.items() if quotas.get(name, 0) < count]
    assert not partly or max(quotas.values(), default=0) - min(partly) <= 1


def test_the_same_seed_draws_the_same_rows_and_another_seed_others() -> None:
    offsets = range(100, 400)
    assert sample("w", offsets, 50, seed=1) == sample("w", offsets, 50, seed=1)
    assert sample("w", offsets, 50, seed=1) != sample("w", offsets, 50, seed=2)
    assert sample("w", offsets, 50, seed=1) != sample("v", offsets, 50, seed=1)


@given(st.sets(st.integers(0, 10_000), max_size=300), st.integers(0, 400), st.integers())
def test_a_sample_has_no_row_twice_and_none_from_elsewhere(offsets: set[int], count: int, seed: int) -> None:
    drawn = sample("w", sorted(offsets), count, seed)
    assert len(drawn) == min(count, len(offsets))
    assert list(drawn) == sorted(set(drawn))
    assert set(drawn) <= offsets


def test_only_earlier_trusted_trainable_windows_are_replayed() -> None:
    windows = [
        closed_window(2),
        closed_window(0),
        closed_window(1, trainable=False),
        closed_window(3),
        closed_window(4),
    ]
    assert list(eligible(windows, before=4, quarantined=frozenset({window_id(2)}))) == [window_id(0), window_id(3)]


def test_quotas_count_training_rows_only() -> None:
    windows = {window_id(place): closed_window(place, train=train) for place, train in enumerate((10, 0, 50))}
    policy = build_policy(BalancedReplaySettings())
    assert replay_quotas(windows, policy, 40, seed=5) == {window_id(0): 10, window_id(2): 30}


def earlier(count: int, rare: int = 0) -> list[EarlierRow]:
    """Rows of label 0, but the first `rare` ones, which have label 1."""
    return [EarlierRow(offset=100 + place, label=int(place < rare)) for place in range(count)]


def labels_drawn(offsets: tuple[int, ...], rare: int) -> tuple[int, int]:
    few = sum(offset < 100 + rare for offset in offsets)
    return len(offsets) - few, few


POLICIES = st.sampled_from([BalancedReplay(), LabelBalancedReplay(), ReservoirReplay(20, 1), HardReplay(3.0)])


@given(POLICIES, st.integers(0, 60), st.integers(0, 60), st.integers(0, 80), st.integers())
def test_every_policy_draws_rows_of_the_window_none_twice_the_same_again(
    policy: ReplayPolicy, count: int, rare: int, wanted: int, seed: int
) -> None:
    drawn = policy.draw("w", earlier(count, rare), wanted, seed)
    assert list(drawn) == sorted(set(drawn))
    assert set(drawn) <= {row.offset for row in earlier(count)}
    assert len(drawn) <= wanted
    assert drawn == policy.draw("w", earlier(count, rare), wanted, seed)


@given(POLICIES, COUNTS, st.integers(0, 300), st.integers())
def test_no_policy_asks_for_more_than_there_is(
    policy: ReplayPolicy, available: dict[str, int], wanted: int, seed: int
) -> None:
    quotas = policy.quotas(available, wanted, Random(seed))
    assert all(0 < count <= available[name] for name, count in quotas.items())


def test_labels_of_a_window_give_alike_and_a_rare_one_all_it_has() -> None:
    policy = LabelBalancedReplay()
    assert labels_drawn(policy.draw("w", earlier(100, rare=40), 30, seed=1), 40) == (15, 15)
    assert labels_drawn(policy.draw("w", earlier(100, rare=4), 30, seed=1), 4) == (26, 4)


def test_every_remembered_row_is_as_likely_as_any_other() -> None:
    policy = ReservoirReplay(rows_per_window=50, memory_seed=1)
    totals = {"large": 0, "small": 0}
    for seed in range(400):
        for name, count in policy.quotas({"large": 5000, "small": 10}, 12, Random(seed)).items():
            totals[name] += count
    assert totals["large"] + totals["small"] == 400 * 12
    assert 0.8 < totals["small"] / (400 * 12 * 10 / 60) < 1.2


def test_a_window_is_remembered_by_the_same_rows_in_every_plan() -> None:
    policy = ReservoirReplay(rows_per_window=20, memory_seed=1)
    drawn = {offset for seed in range(50) for offset in policy.draw("w", earlier(500), 10, seed)}
    assert drawn == set(policy.memory("w", earlier(500)))
    assert len(drawn) == 20
    assert ReservoirReplay(20, 2).memory("w", earlier(500)) != policy.memory("w", earlier(500))


def test_every_row_of_a_window_is_as_likely_to_be_remembered() -> None:
    counts = Counter(offset for seed in range(400) for offset in ReservoirReplay(10, seed).memory("w", earlier(40)))
    assert len(counts) == 40
    assert 55 < min(counts.values()) < 100 < max(counts.values()) < 150


def test_hard_replay_draws_more_than_it_keeps() -> None:
    available = {"a": 100, "b": 100}
    assert HardReplay(3.0).quotas(available, 20, Random(0)) == {"a": 30, "b": 30}
    assert HardReplay(3.0).quotas(available, 90, Random(0)) == available


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        (BalancedReplaySettings(), BalancedReplay),
        (LabelBalancedReplaySettings(), LabelBalancedReplay),
        (ReservoirReplaySettings(), ReservoirReplay),
        (HardReplaySettings(), HardReplay),
    ],
)
def test_the_settings_name_the_policy(settings: ReplaySettings, policy: type) -> None:
    assert type(build_policy(settings)) is policy
