"""Pictures of one decision, for people: how far apart the models are, how sure of it we are, and where they err."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from services.evaluator.comparison import count_flips, interval
from services.evaluator.exam import ANCHOR, BASELINE, CHALLENGER, CHAMPION, BoolArray
from services.evaluator.page.eras import ERA_PREFIX
from services.evaluator.suites import POOL
from shared.events import Score

BINS = 10
_DPI = 110
# In inches.
_SIZE, _INCHES_A_LINE = (6.4, 4.0), 0.4
# The same model has the same colour in every picture.
_COLOURS = {CHALLENGER: "tab:blue", CHAMPION: "tab:orange", ANCHOR: "tab:purple", BASELINE: "tab:grey"}
_WHEN = {CHAMPION: "before: champion", CHALLENGER: "after: challenger"}


def draw_all(
    folder: Path,
    suites: Mapping[str, BoolArray],
    right: Mapping[str, BoolArray],
    scores: Sequence[Score],
    probabilities: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    label_names: Sequence[str],
) -> tuple[Path, ...]:
    """Draws every picture into the folder and returns their paths.

    Args: suites: name -> (n,) its rows; right: model -> (n,) whether it was right; probabilities: model -> (n, k), of
    models that have them; labels: (n,) true label ids; label_names: k.
    """
    # Eras have a heat map of their own.
    scores = [score for score in scores if not score.rows_name.startswith(ERA_PREFIX)]
    pictures = {
        "difference": _difference(suites, right),
        "accuracy": _accuracy(scores),
        "reliability": _reliability(probabilities, labels),
        "confusion": _confusion(probabilities, labels, label_names),
    }
    return tuple(_saved(picture, folder / f"{name}.png") for name, picture in pictures.items())


def reliability(confidence: NDArray[np.float64], right: BoolArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean confidence and share of right answers in each of 10 equal bins of confidence that holds any row."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    held = rows > 0
    means = [np.bincount(bins, weights=values, minlength=BINS)[held] / rows[held] for values in (confidence, right)]
    return means[0], means[1]


def _difference(suites: Mapping[str, BoolArray], right: Mapping[str, BoolArray]) -> Figure:
    """Edge over every opponent with its 95 % interval, in points of accuracy."""
    compared = [(suite, opponent) for suite in suites for opponent in right if opponent != CHALLENGER]
    figure, axes = _canvas("Challenger's edge, 95 % interval at every look", "points of accuracy", len(compared))
    for place, (suite, opponent) in enumerate(compared):
        rows = suites[suite]
        flips = count_flips(right[opponent][rows], right[CHALLENGER][rows])
        low, high = interval(flips)
        reach = [[100 * (flips.delta - low)], [100 * (high - flips.delta)]]
        axes.errorbar([100 * flips.delta], [place], xerr=reach, fmt="o", capsize=4, color=_COLOURS[opponent])
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(compared)), [f"over {opponent}\n{suite}" for suite, opponent in compared])
    axes.invert_yaxis()
    return figure


def _accuracy(scores: Sequence[Score]) -> Figure:
    figure, axes = _canvas("Accuracy", "share of rows", len(scores))
    for place, score in enumerate(scores):
        value = score.metrics.get("accuracy", 0.0)
        axes.barh(place, value, color=_COLOURS.get(score.model))
        axes.text(value, place, f" {value:.3f}", va="center")
    axes.set_yticks(range(len(scores)), [f"{score.model}\n{score.rows_name} ({score.rows})" for score in scores])
    axes.set_xlim(0.0, 1.1)
    axes.invert_yaxis()
    return figure


def _reliability(probabilities: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> Figure:
    figure, axes = _canvas(f"Reliability on the {POOL}", "confidence")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for model, table in probabilities.items():
        confidence, right = reliability(table.max(axis=1).astype(np.float64), table.argmax(axis=1) == labels)
        axes.plot(confidence, right, marker="o", label=_WHEN.get(model, model), color=_COLOURS[model])
    axes.set_ylabel("share of right answers")
    axes.legend()
    return figure


def _confusion(
    probabilities: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64], names: Sequence[str]
) -> Figure:
    """Before beside after, where there is a champion."""
    shown = [model for model in (CHAMPION, CHALLENGER) if model in probabilities]
    figure = Figure(figsize=_SIZE, layout="constrained")
    figure.suptitle(f"Answers on the {POOL}")
    for axes, model in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axes.set_title(_WHEN[model])
        _table(axes, probabilities[model].argmax(axis=1), labels, names)
    return figure


def _table(axes: Axes, chosen: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]) -> None:
    table = np.zeros((len(names), len(names)), np.int64)
    np.add.at(table, (labels, chosen), 1)
    axes.imshow(table, cmap="Blues")
    for (true, answered), rows in np.ndenumerate(table):
        axes.text(answered, true, str(rows), ha="center", va="center", color="black" if rows < table.max() / 2 else "w")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")


def _canvas(title: str, xlabel: str, lines: int = 0) -> tuple[Figure, Axes]:
    """Args: lines: entries below each other, for which there must be room."""
    # No pyplot: it keeps every figure alive and asks for a display.
    width, height = _SIZE
    figure = Figure(figsize=(width, max(height, 1.0 + _INCHES_A_LINE * lines)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    return figure, axes


def _saved(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    return path
