import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.soup import average
from shared.errors import ModelError

NUMBERS = st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3)


def state(weights: list[float], steps: int = 7) -> dict[str, torch.Tensor]:
    return {"head.weight": torch.tensor(weights, dtype=torch.float32), "steps": torch.tensor(steps)}


def test_each_weight_is_the_mean_and_counters_are_the_first_models() -> None:
    mean = average([state([0, 1, 2], steps=7), state([4, 1, 0], steps=9)])
    assert mean["head.weight"].tolist() == [2, 1, 1]
    assert mean["steps"].item() == 7


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.randoms())
def test_the_order_of_the_models_does_not_show(models: list[list[float]], chance: object) -> None:
    mixed = [*models]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (average([state(weights) for weights in order])["head.weight"] for order in (models, mixed))
    assert one.dtype == torch.float32
    torch.testing.assert_close(one, other)


def test_equal_models_average_to_themselves() -> None:
    assert average([state([0.1, 0.2, 0.3])] * 3)["head.weight"].equal(state([0.1, 0.2, 0.3])["head.weight"])


@pytest.mark.parametrize("other", [{"head.weight": torch.zeros(4), "steps": torch.tensor(1)}, {"steps": torch.ones(1)}])
def test_models_of_other_shape_are_refused_by_name(other: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError, match="head.weight"):
        average([state([0, 1, 2]), other])
