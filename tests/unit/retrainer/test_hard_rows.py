import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.hard_rows import pick_hard, row_losses

LOSSES = st.lists(st.floats(0, 50), max_size=60).map(np.array)


def test_the_loss_of_a_row_is_its_cross_entropy() -> None:
    losses = row_losses([[0.0, 0.0], [10.0, 0.0], [10.0, 0.0]], [1, 0, 1])
    assert losses == pytest.approx([np.log(2), 4.54e-5, 10.0000454], rel=1e-3)


def test_the_hardest_are_kept_and_the_rest_is_drawn() -> None:
    losses = np.array([5.0, 0.1, 0.2, 4.0, 0.3, 0.4, 0.5, 0.6])
    picks = {tuple(pick_hard(losses, 4, 0.5, seed)) for seed in range(30)}
    assert all({0, 3} <= set(pick) for pick in picks)
    assert len(picks) > 5


@given(LOSSES, st.integers(0, 80), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_as_many_as_wanted_none_twice_the_same_again(
    losses: np.ndarray, count: int, hard_share: float, seed: int
) -> None:
    picked = pick_hard(losses, count, hard_share, seed)
    assert picked == sorted(set(picked)) == pick_hard(losses, count, hard_share, seed)
    assert len(picked) == min(count, len(losses))
    assert set(picked) <= set(range(len(losses)))
