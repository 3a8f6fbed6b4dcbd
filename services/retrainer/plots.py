"""Pictures of a training, drawn without a display."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from services.retrainer.progress import Point

SIZE_INCHES = (8.0, 4.5)
DOTS_PER_INCH = 100


def draw_loss(points: Sequence[Point], title: str, folder: Path) -> list[Path]:
    """Draws the loss against steps and against tokens seen; returns the two PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    loss = [point.loss for point in points]
    return [
        _draw([point.step for point in points], loss, "optimiser steps", title, folder / "loss_by_step.png"),
        _draw([point.tokens_seen for point in points], loss, "tokens seen", title, folder / "loss_by_tokens.png"),
    ]


def _draw(x: Sequence[int], loss: Sequence[float], x_label: str, title: str, file: Path) -> Path:
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x, loss, marker=".")
    axes.set(xlabel=x_label, ylabel="training loss (nats per row)", title=title)
    axes.grid(alpha=0.3)
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png")
    return file
