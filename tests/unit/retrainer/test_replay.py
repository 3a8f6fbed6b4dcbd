from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.replay import BalancedReplay, build_policy, eligible, replay_quotas, sample
from shared.settings import BalancedReplaySettings
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
