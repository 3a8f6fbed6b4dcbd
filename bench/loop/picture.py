"""The first stream as it goes, and below it what every policy comes to over all of them."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.loop.claims import Runs
from bench.loop.measures import Outcome, figure
from bench.loop.policies import ALWAYS, EVERYTHING, OURS, Kind, Policy
from bench.loop.stream import Stream

COLOURS = {Kind.OURS: "#0b6e4f", Kind.VARIANT: "#63b598", Kind.GATED: "#3b6ea8", Kind.UNGATED: "#8a8d91"}
LINES = {OURS: "#0b6e4f", "estimate": "#3b6ea8", ALWAYS: "#c2703d", EVERYTHING: "#1d1d1d", "never": "#b0b3b8"}
SMOOTHED_WINDOWS = 3
# Below this many harmful promotions the axis is linear, so that none at all has a place.
LINEAR_BELOW = 1.0
TICKS = (0, 1, 3, 10, 30)


def draw(policies: Sequence[Policy], stream: Stream, runs: Runs, target: Path) -> None:
    """Writes a PNG. Args: stream: the one that place 0 of every list is about."""
    height = 4.2 + 0.3 * len(policies)
    drawing = Figure(figsize=(13.0, 1.8 + height), layout="constrained", dpi=110)
    heights = (4.2, 1.2 + 0.3 * len(policies))
    above, below = drawing.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_stream(above.subplots(), stream, {name: runs[name][0] for name in LINES if name in runs})
    panels = below.subplots(1, 4, sharey=True)
    columns = (
        ("accuracy", "test, then train: accuracy, %", 100.0),
        ("harmful", "harmful promotions", 1.0),
        ("backward_transfer", "backward transfer, points", 100.0),
        ("row_passes", "rows through training", 1.0),
    )
    for panel, (name, title, scale) in zip(panels, columns, strict=True):
        _draw_column(panel, policies, runs, name, scale)
        panel.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(policies)), [f"{each.name}: {each.text}" for each in policies], fontsize=8)
    panels[0].invert_yaxis()
    panels[1].set_xscale("symlog", linthresh=LINEAR_BELOW)
    panels[1].set_xticks(TICKS, [str(tick) for tick in TICKS])
    panels[1].set_xlim(left=-LINEAR_BELOW / 10)
    panels[2].axvline(0, color="0.5", linewidth=0.8)
    panels[3].set_xscale("log")
    drawing.savefig(target, format="png", metadata={"Software": None})


def _draw_stream(axes: Axes, stream: Stream, outcomes: dict[str, Outcome]) -> None:
    for name, outcome in outcomes.items():
        weight = 2.4 if name == OURS else 1.3
        line = smoothed(outcome.by_window)
        axes.plot(range(len(line)), line, color=LINES[name], linewidth=weight, label=name)
    _mark_domains(axes, stream)
    for place in stream.flipped:
        axes.axvline(place, color="#b3261e", linestyle=":", linewidth=1.2)
    axes.set(title="One stream: accuracy of the model in service on each window before it is learned", ylabel="%")
    axes.set_xlabel(f"window, as mean of up to {SMOOTHED_WINDOWS}; dotted red: every label of this window is wrong")
    axes.margins(x=0.01)
    axes.grid(alpha=0.25, axis="y")
    axes.legend(loc="lower right", fontsize=8, ncols=len(outcomes))


def _mark_domains(axes: Axes, stream: Stream) -> None:
    shades = {domain: f"C{number}" for number, domain in enumerate(stream.truth)}
    place = 0
    for domain, group in groupby(stream.domains):
        length = len(list(group))
        axes.axvspan(place - 0.5, place + length - 0.5, color=shades[domain], alpha=0.08, linewidth=0)
        middle, top = place + length / 2 - 0.5, axes.get_xaxis_transform()
        axes.text(middle, 0.98, domain, transform=top, ha="center", va="top", fontsize=7, color="0.3", rotation=90)
        place += length


def _draw_column(axes: Axes, policies: Sequence[Policy], runs: Runs, name: str, scale: float) -> None:
    for place, policy in enumerate(policies):
        found = figure(runs[policy.name], name)
        colour = COLOURS[policy.kind]
        axes.errorbar(scale * found.mean, place, xerr=scale * found.half, fmt="o", color=colour, markersize=6)
    axes.grid(alpha=0.25)


def smoothed(accuracies: Sequence[float]) -> list[float]:
    """Per window the mean of it and the few before it, in per cent."""
    starts = (max(0, end - SMOOTHED_WINDOWS) for end in range(1, len(accuracies) + 1))
    return [100 * float(np.mean(accuracies[start:end])) for end, start in enumerate(starts, 1)]
