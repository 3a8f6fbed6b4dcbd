"""Pictures of a training, drawn without a display."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from services.retrainer.progress import Point

SIZE_INCHES = (8.0, 4.5)
DOTS_PER_INCH = 100


@dataclass(frozen=True)
class Mark:
    """A point beside the curve, with what it is."""

    x: float
    y: float
    text: str


def draw_loss(points: Sequence[Point], title: str, folder: Path) -> list[Path]:
    """Draws the loss against steps and against tokens seen; returns the two PNG files."""
    loss, label = [point.loss for point in points], "training loss (nats per row)"
    steps, tokens = [float(point.step) for point in points], [float(point.tokens_seen) for point in points]
    return [
        draw_curve(steps, loss, ("optimiser steps", label), title, folder / "loss_by_step.png"),
        draw_curve(tokens, loss, ("tokens seen", label), title, folder / "loss_by_tokens.png"),
    ]


def draw_curve(
    x: Sequence[float],
    y: Sequence[float],
    labels: tuple[str, str],
    title: str,
    file: Path,
    marks: Sequence[Mark] = (),
) -> Path:
    """Draws one curve into a PNG file. Args: labels: of both axes, with their units."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x, y, marker=".")
    for mark in marks:
        axes.plot([mark.x], [mark.y], marker="D", linestyle="none", label=mark.text)
    if marks:
        axes.legend(title="on validation texts")
    axes.set(xlabel=labels[0], ylabel=labels[1], title=title)
    axes.grid(alpha=0.3)
    FigureCanvasAgg(figure)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="png")
    return file
