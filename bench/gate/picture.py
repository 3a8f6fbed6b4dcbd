"""What every policy lets in against how good its model ends up, as a picture."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.gate.claims import OURS
from bench.gate.policies import Tally, summary

OUR_COLOUR, OTHER_COLOUR = "#0b6e4f", "#8a8d91"
# Below this many harmful promotions the axis is linear, so that none at all has a place.
LINEAR_BELOW = 0.1


def draw(panels: Mapping[str, Mapping[str, list[Tally]]], target: Path) -> None:
    """Writes a PNG with one panel each: tallies by policy under a title."""
    figure = Figure(figsize=(5.2 * len(panels), 4.6), layout="constrained", dpi=150)
    axes = figure.subplots(1, len(panels), squeeze=False)
    for (title, tallies), panel in zip(panels.items(), axes[0], strict=True):
        panel.set(title=title, xlabel="harmful promotions (fewer is better)", ylabel="final accuracy, %")
        panel.set_xscale("symlog", linthresh=LINEAR_BELOW)
        panel.grid(alpha=0.25)
        for policy, runs in tallies.items():
            _mark(panel, policy, runs)
    figure.savefig(target, format="png", metadata={"Software": None})


def _mark(panel: Axes, policy: str, runs: list[Tally]) -> None:
    harmful, final = (summary(runs)[name] for name in ("harmful", "final_accuracy"))
    colour = OUR_COLOUR if policy == OURS else OTHER_COLOUR
    at = (harmful.mean, 100 * final.mean)
    panel.errorbar(*at, xerr=2 * harmful.error, yerr=200 * final.error, fmt="o", color=colour, markersize=6)
    weight = "bold" if policy == OURS else "normal"
    panel.annotate(policy, at, textcoords="offset points", xytext=(6, 5), color=colour, fontweight=weight)
