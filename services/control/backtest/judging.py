"""The evaluator's own gate, quarantine and anchor, asked about models of a backtest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.evaluator.challenge import Challenge, ProbeResult
from services.evaluator.comparison import Flips, count_flips, evidence
from services.evaluator.gate import Ruling, decide
from services.evaluator.guards import BrierLosses, brier_losses
from services.evaluator.pool import HeldOutRow
from services.evaluator.quarantine import Tally, quarantine_verdict
from services.evaluator.slices import CLASSES, slices_of
from shared.archive import WindowRow
from shared.settings import GateSettings

BASELINE = "baseline"
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Rows = Sequence[HeldOutRow]
Ask = Callable[[str, Rows], Floats]
"""A model's probabilities for rows; `BASELINE` is a model too."""


@dataclass(frozen=True)
class Sitting:
    """What all challengers of one sitting are compared with.

    Attributes:
        champion: The model in service; `BASELINE` while there is none.
        anchor: The last model proven better than the anchor before it.
        eras: Era -> its frozen rows.
    """

    ask: Ask
    champion: str
    anchor: str
    eras: Mapping[str, Rows]
    labels: Sequence[str]
    gate: GateSettings

    def ruling(self, challenger: str, rows: Rows) -> Ruling:
        """The gate's, on the rows that decide about this challenger."""
        challenge = self._against_baseline if self.champion == BASELINE else self._against_champion
        return decide(challenge(challenger, rows), _offline(self.gate))

    def flips(self, opponent: str, challenger: str, rows: Rows) -> Flips:
        """Pairs two models' answers to the rows."""
        return count_flips(right(self.ask(opponent, rows), rows), right(self.ask(challenger, rows), rows))

    def is_distrusted(self, challenger: str, rows: Rows, window_id: str) -> bool:
        """Whether the window that the challenger learned is to be locked away."""
        if self.champion == BASELINE:
            return False
        elsewhere = [row for row in rows if row.window_id != window_id]
        return quarantine_verdict(
            self.flips(self.champion, challenger, elsewhere),
            self._tally([row for row in rows if row.window_id == window_id]),
            self._tally(elsewhere),
            self.gate.quarantine,
        ).quarantine

    def moves_anchor(self, rows: Rows) -> bool:
        """Whether the champion is proven better than the anchor, on rows that came after its promotion."""
        return evidence(self.flips(self.anchor, self.champion, rows)) >= self.gate.anchor_odds

    def _against_baseline(self, challenger: str, rows: Rows) -> Challenge:
        return Challenge(
            probe=_probed(rows),
            flips=self.flips(BASELINE, challenger, rows),
            metrics=self._metrics(challenger, rows),
            against_baseline=True,
            losses=self._losses(challenger, rows),
        )

    def _against_champion(self, challenger: str, rows: Rows) -> Challenge:
        parts = {
            name: [rows[place] for place in np.flatnonzero(members).tolist()]
            for name, members in slices_of(rows, self.labels, self.gate.slices).items()
        }
        return Challenge(
            probe=_probed(rows),
            flips=self.flips(self.champion, challenger, rows),
            metrics=self._metrics(challenger, rows),
            anchor=self.flips(self.anchor, challenger, rows) if self.anchor != self.champion else None,
            is_anchor=self.anchor == self.champion,
            baseline=self.flips(BASELINE, challenger, rows),
            slices={name: self.flips(self.champion, challenger, part) for name, part in parts.items()},
            recalls={
                name: float(right(self.ask(self.champion, part), part).mean())
                for name, part in parts.items()
                if name.startswith(CLASSES)
            },
            eras={name: self.flips(self.champion, challenger, frozen) for name, frozen in self.eras.items()},
            losses=self._losses(challenger, rows),
            size_ratio=1.0,  # all models of one backtest are of one make
        )

    def _losses(self, challenger: str, rows: Rows) -> BrierLosses | None:
        if not rows:
            return None
        labels = np.array([row.label for row in rows])
        return BrierLosses(*(brier_losses(self.ask(model, rows), labels) for model in (self.champion, challenger)))

    def _metrics(self, challenger: str, rows: Rows) -> Mapping[str, float]:
        from services.evaluator.metrics import score_all  # its library takes seconds to load

        return score_all(self.ask(challenger, rows), [row.label for row in rows]) if rows else {}

    def _tally(self, rows: Rows) -> Tally:
        answered = right(self.ask(self.champion, rows), rows)
        return Tally(int(answered.sum()), answered.size)


def right(answers: Floats, rows: Rows | Sequence[WindowRow]) -> Bools:
    """Which rows were answered rightly."""
    labels = np.array([row.label for row in rows], np.int64)
    return np.asarray(answers.argmax(axis=1) == labels if len(rows) else labels.astype(np.bool_))


def _probed(rows: Rows) -> ProbeResult:
    """A model that was just trained here has answered all of these rows."""
    return ProbeResult(loaded=True, asked=max(1, len(rows)), answered=max(1, len(rows)))


def _offline(gate: GateSettings) -> GateSettings:
    """What is asked of answers to users cannot be asked of a replay, which has none."""
    return gate.model_copy(update={"terms": tuple(term for term in gate.terms if term.kind != "serving")})
