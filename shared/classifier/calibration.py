"""Temperature scaling, folded into the last layer so that every loader of the model is calibrated.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from shared.classifier.about import TEMPERATURE_FIELD
from shared.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Beyond these a temperature says that the rows are too few or all right (towards 0) or that the model knows
# nothing (towards infinity); the bound keeps the logits finite.
LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The T in [0.05, 20] for which softmax(logits / T) has the least negative log-likelihood.

    Args: logits of shape (n, k), or (n,) for the log-odds of label 1; labels of shape (n,), columns of the logits.
    Raises: ValueError if there is no row or the shapes differ.
    """
    columns, truth = _as_columns(np.asarray(logits, np.float64)), np.asarray(labels, np.int64)
    if len(truth) == 0 or truth.shape != columns.shape[:1]:
        raise ValueError(f"need a label for each row of logits, one at least: {truth.shape} against {columns.shape}")

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(columns / np.exp(log_temperature), axis=1)
        return float(-log_probabilities[np.arange(len(truth)), truth].mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-8})
    return float(np.exp(found.x))


def temperature_of(model: "PreTrainedModel") -> float:
    """The temperature folded into the model's last layer; 1 if none was."""
    return float(getattr(model.config, TEMPERATURE_FIELD, 1.0))


def fold_temperature(model: "PreTrainedModel", temperature: float) -> None:
    """Divides every logit by the temperature, in the weights, and records the product of all foldings in the config."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"a temperature is positive and finite, got {temperature}")
    _scale_head(model, 1.0 / temperature)
    setattr(model.config, TEMPERATURE_FIELD, temperature_of(model) * temperature)


def unfold_temperature(model: "PreTrainedModel") -> None:
    """Brings the last layer back to what training left, so that a warm start goes on from there."""
    _scale_head(model, temperature_of(model))
    setattr(model.config, TEMPERATURE_FIELD, 1.0)


def head_of(model: "PreTrainedModel") -> torch.nn.Linear:
    """The linear layer that makes the logits.

    Raises: ModelError if the model has none with one output per label.
    """
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if not linears or linears[-1].out_features != model.config.num_labels:
        raise ModelError(f"{type(model).__name__} does not end in a linear layer with one output per label")
    return linears[-1]


def _scale_head(model: "PreTrainedModel", factor: float) -> None:
    head = head_of(model)
    with torch.no_grad():
        head.weight.mul_(factor)
        if head.bias is not None:
            head.bias.mul_(factor)


def _as_columns(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([np.zeros_like(logits), logits]) if logits.ndim == 1 else logits
