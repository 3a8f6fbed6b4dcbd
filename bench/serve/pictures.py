"""The charts: throughput by connections, and the tail of latency by rate."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.serve.contestants import CONTESTANTS, NAIVE, OURS
from bench.serve.measures import Point

COLOURS = {OURS: "#0b6e4f", NAIVE: "#8a8d91"}


def draw(points: Sequence[Point], file: Path) -> None:
    """Writes a PNG. Args: points: a median each."""
    figure = Figure(figsize=(11, 4), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2)
    names = dict.fromkeys(each.contestant for each in points)
    for name in names:
        own = [each for each in points if each.contestant == name]
        _line(left, name, [(each.load, each.per_second) for each in own if each.loop == "closed"])
        _line(right, name, [(each.load, each.p99) for each in own if each.loop == "open" and each.p99 is not None])
    left.set(xlabel="connections, each asking again once it is answered", ylabel="texts a second", xscale="log")
    right.set(xlabel="texts a second, at a constant rate", ylabel="p99 from when each was due, ms", yscale="log")
    left.set_ylim(bottom=0)
    left.legend(fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(file, metadata={"Software": None})


def _line(axes: Axes, name: str, dots: Sequence[tuple[float, float]]) -> None:
    what = next(each.what for each in CONTESTANTS if each.name == name)
    axes.plot(
        [x for x, _ in dots],
        [y for _, y in dots],
        marker="o",
        label=what,
        color=COLOURS.get(name),
        linewidth=2.4 if name == OURS else 1.3,
    )
