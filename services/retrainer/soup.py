"""The average of several models' weights: often better than any of them, when all grew from the same base.

Source: Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482.
"""

from collections.abc import Mapping, Sequence

import torch

from shared.errors import ModelError

State = Mapping[str, torch.Tensor]


def average(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """The mean of each weight over the models, in its own type; what is no floating-point number is the first's.

    Args: at least one; all with the same names and shapes.
    Raises: ModelError if they differ.
    """
    first = states[0]
    for state in states[1:]:
        _refuse_different(first, state)
    return {name: _mean([state[name] for state in states]) for name in first}


def _mean(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    first = weights[0]
    if not first.is_floating_point():
        return first
    # Summed in 64 bits: the order of the versions must not show in the result.
    return torch.stack([weight.double() for weight in weights]).mean(0).to(first.dtype)


def _refuse_different(one: State, other: State) -> None:
    shapes, others = ({name: tuple(weight.shape) for name, weight in state.items()} for state in (one, other))
    different = sorted(name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name))
    if different:
        raise ModelError(
            f"models of different shape cannot be averaged ({', '.join(different[:3])} …); "
            "set training.start to 'champion'"
        )
