"""What every policy lets in against how good its model ends up, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.gate.claims import OURS
from bench.gate.policies import Policy, Tally, summary

OURS_COLOUR, VARIANT_COLOUR, PEER_COLOUR = "#0b6e4f", "#63b598", "#8a8d91"
# Below this many harmful promotions the axis is linear, so that none at all has a place.
LINEAR_BELOW = 0.1
TICKS = (0, 0.1, 1, 10, 100)
LEGEND_ROWS = 5


def draw(policies: Sequence[Policy], panels: Mapping[str, Mapping[str, list[Tally]]], target: Path) -> None:
    """Writes a PNG with one panel each: tallies by policy under a title. Bars are two standard errors."""
    width = max(8.0, 5.0 * len(panels))
    figure = Figure(figsize=(width, 6.0), layout="constrained", dpi=120)
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for (title, tallies), panel in zip(panels.items(), axes, strict=True):
        _prepare(panel, title)
        for policy in policies:
            _mark(panel, policy, tallies[policy.name])
    axes[0].set_ylabel("final accuracy, %")
    columns = -(-len(policies) // LEGEND_ROWS)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=8)
    figure.savefig(target, format="png", metadata={"Software": None})


def _prepare(panel: Axes, title: str) -> None:
    panel.set(title=title, xlabel="harmful promotions")
    panel.set_xscale("symlog", linthresh=LINEAR_BELOW)
    panel.set_xlim(-LINEAR_BELOW / 4, TICKS[-1])
    panel.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    panel.grid(alpha=0.25)
    panel.margins(y=0.1)


def _mark(panel: Axes, policy: Policy, runs: list[Tally]) -> None:
    harmful, final = (summary(runs)[name] for name in ("harmful", "final_accuracy"))
    ours = policy.name == OURS
    colour = OURS_COLOUR if ours else PEER_COLOUR if policy.peer else VARIANT_COLOUR
    at, bars = (harmful.mean, 100 * final.mean), (2 * harmful.error, 200 * final.error)
    label, above = f"{policy.name}: {policy.text}", 3 if ours else 2
    panel.errorbar(*at, xerr=bars[0], yerr=bars[1], fmt="o", color=colour, markersize=6, label=label, zorder=above)
    offset, weight = ((-11, 6), "bold") if ours else ((6, 5), "normal")
    panel.annotate(
        policy.name, at, textcoords="offset points", xytext=offset, color=colour, fontweight=weight, fontsize=8
    )
