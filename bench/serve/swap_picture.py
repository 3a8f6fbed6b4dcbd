"""The chart of a run: latency and memory over time, with every swap marked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bench.serve.measures import Answers
from bench.serve.swaps import Swap


def draw_swaps(answers: Answers, looks: Sequence[tuple[float, float]], swaps: Sequence[Swap], file: Path) -> None:
    """Writes a PNG. Args: looks: monotonic seconds and MiB."""
    begin = swaps[0].begin
    figure = Figure(figsize=(11, 5), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(answers.done - begin, answers.milliseconds, ".", markersize=1.5, color="#0b6e4f")
    above.set(ylabel="latency, ms", yscale="log", title=f"{len(swaps)} swaps under load; grey: a swap under way")
    times, mib = np.array(looks).T
    below.plot(times - begin, mib, color="#3b6ea8", linewidth=1.2)
    below.set(xlabel="seconds", ylabel="resident memory, MiB")
    below.set_ylim(bottom=0)
    for axes in (above, below):
        for swap in swaps:
            axes.axvspan(swap.begin - begin, swap.end - begin, color="0.5", alpha=0.15, linewidth=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    figure.savefig(file, metadata={"Software": None})
