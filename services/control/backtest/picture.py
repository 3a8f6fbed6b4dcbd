"""The backtest at a glance: accuracy over time, one line a policy; below it, a map of model by window for each."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.control.backtest.result import EraResult, Grid, PolicyResult

WIDTH, ROW_HEIGHT = 10.0, 3.4
SMOOTHED_WINDOWS = 5


def draw(results: Sequence[PolicyResult], file: Path) -> None:
    """Writes a PNG."""
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * (1 + len(results))), layout="constrained")
    axes = figure.subplots(1 + len(results), 1, squeeze=False)[:, 0]
    _draw_lines(axes[0], results)
    for place, result in enumerate(results):
        _draw_grid(axes[1 + place], result.policy, result.grid)
    figure.savefig(file, dpi=120)


def _draw_lines(axes: Axes, results: Sequence[PolicyResult]) -> None:
    for place, result in enumerate(results):
        ends = list(accumulate(era.rows for era in result.eras))
        line = smoothed(result.eras)
        axes.plot(ends, line, color=f"C{place}", label=result.policy)
        promoted = {promotion.window_id for promotion in result.promotions}
        marks = [number for number, era in enumerate(result.eras) if era.window_id in promoted]
        axes.plot([ends[mark] for mark in marks], [line[mark] for mark in marks], "^", color=f"C{place}", markersize=5)
    axes.set(title="Test, then train: accuracy of the model in service", xlabel="reviews", ylabel="accuracy")
    axes.text(
        0.995,
        0.02,
        f"mean over {SMOOTHED_WINDOWS} windows; a triangle: learned there and promoted",
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
        color="0.4",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=8)


def smoothed(eras: Sequence[EraResult]) -> list[float]:
    """Accuracy over each window and the few before it, weighed by rows."""
    line: list[float] = []
    for end in range(1, len(eras) + 1):
        seen = eras[max(0, end - SMOOTHED_WINDOWS) : end]
        line.append(sum(era.right for era in seen) / max(1, sum(era.rows for era in seen)))
    return line


def _draw_grid(axes: Axes, policy: str, grid: Grid) -> None:
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in grid.accuracy], float)
    image = axes.imshow(values, aspect="auto", cmap="viridis", interpolation="nearest")
    # The step: which model was in service when the window closed, and so what was forgotten is to its left.
    axes.step(np.arange(len(grid.serving)), grid.serving, where="mid", color="white", linewidth=1.2)
    axes.set(title=f"{policy}: accuracy on each window's hold-out", xlabel="window", ylabel="model in service")
    axes.set_yticks(range(len(grid.models)), [model[:8] for model in grid.models], fontsize=7)
    axes.figure.colorbar(image, ax=axes)
