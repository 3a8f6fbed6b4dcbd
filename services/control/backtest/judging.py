"""The evaluator's own gate and quarantine, asked about models of a backtest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.evaluator.comparison import Flips, count_flips
from services.evaluator.gate import Challenge, ProbeResult, Ruling, decide
from services.evaluator.pool import HeldOutRow
from services.evaluator.quarantine import Tally, quarantine_verdict
from shared.archive import WindowRow
from shared.settings import GateSettings

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def right(answers: Floats, rows: Sequence[HeldOutRow] | Sequence[WindowRow]) -> Bools:
    """Which rows were answered rightly."""
    labels = np.array([row.label for row in rows], np.int64)
    return np.asarray(answers.argmax(axis=1) == labels if len(rows) else labels.astype(np.bool_))


def rule(
    champion: Floats, challenger: Floats, rows: Sequence[HeldOutRow], against_baseline: bool, gate: GateSettings
) -> Ruling:
    """The gate's ruling on a challenger, from both models' answers to the rows that decide about it."""
    from services.evaluator.metrics import score_all  # its library takes seconds to load

    labels = [row.label for row in rows]
    return decide(
        Challenge(
            # A model that was just trained here has answered all of these rows.
            probe=ProbeResult(loaded=True, asked=max(1, len(rows)), answered=max(1, len(rows))),
            flips=flips_between(champion, challenger, rows),
            metrics=score_all(challenger, labels) if labels else {},
            against_baseline=against_baseline,
        ),
        gate,
    )


def flips_between(champion: Floats, challenger: Floats, rows: Sequence[HeldOutRow]) -> Flips:
    """Pairs two models' answers to the rows."""
    return count_flips(right(champion, rows), right(challenger, rows))


def is_quarantined(
    champion: Floats, challenger: Floats, rows: Sequence[HeldOutRow], window_id: str, gate: GateSettings
) -> bool:
    """Whether the window that the challenger learned is locked away; both models answered `rows`."""
    here = np.array([row.window_id == window_id for row in rows], np.bool_)
    champion_right, challenger_right = right(champion, rows), right(challenger, rows)
    return quarantine_verdict(
        count_flips(champion_right[~here], challenger_right[~here]),
        Tally(int(champion_right[here].sum()), int(here.sum())),
        Tally(int(champion_right[~here].sum()), int((~here).sum())),
        gate.quarantine,
    ).quarantine
