"""One policy, from the first recorded window to the last: learn, judge, serve, as the mill would have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from services.control.backtest.judging import BASELINE, Floats, Sitting, right
from services.control.backtest.lesson import make_lesson
from services.control.backtest.policy import Policy
from services.control.backtest.recording import Era
from services.control.backtest.result import EraResult, Grid, PolicyResult, Promotion
from services.control.backtest.store import Predict, Store, Trained
from services.evaluator.comparison import count_flips
from services.evaluator.eras import era_rows, eras_of
from services.evaluator.pool import HeldOutRow, eligible, first_rows_after, held_out, rows_since_birth
from services.evaluator.waiting import Settled, settle_sitting
from services.retrainer.start import WaitingChallenger, choose_start
from shared.archive import WindowRow
from shared.events import ClosedWindow, Verdict


@dataclass(frozen=True)
class Challenger:
    """A model on trial, and the window that it was born with."""

    key: str
    birth: ClosedWindow
    delta: float | None = None
    """Its edge over the champion, as last measured."""


@dataclass(frozen=True)
class Promoted:
    """A challenger that won, whom it replaced, and the rows that decided about it."""

    challenger: Challenger
    instead_of: str
    decided_on: frozenset[str]


class Rehearsal:
    """State of one policy's run. The champion is a key of the store; before the first promotion it is the baseline."""

    def __init__(self, policy: Policy, eras: Sequence[Era], store: Store, baseline: Predict) -> None:
        self._policy, self._eras, self._store, self._baseline = policy, eras, store, baseline
        self._champion = self._anchor = BASELINE
        self._promoted_at = -1
        self._waiting: list[Challenger] = []
        self._quarantined: set[str] = set()
        self._promoted: list[Promoted] = []
        self._serving: list[str] = []

    def run(self) -> PolicyResult:
        """Plays every window."""
        results = [self._play(place, era) for place, era in enumerate(self._eras)]
        return PolicyResult(
            policy=self._policy.name,
            eras=tuple(results),
            promotions=tuple(map(self._judged, self._promoted)),
            grid=self._grid(),
        )

    def _play(self, place: int, era: Era) -> EraResult:
        served = right(self._to(self._champion, era.rows), era.rows)
        result = EraResult(
            window_id=era.window.window_id,
            rows=len(served),
            right=int(served.sum()),
            held_out=len(self._hold_outs[place]),
            verdict="not trainable",
            reasons=(era.window.not_trainable_because or "",) if not era.window.trainable else (),
        )
        if era.window.trainable:
            result = self._learn(place, result)
        self._serving.append(self._champion)
        return result

    def _learn(self, place: int, result: EraResult) -> EraResult:
        """Trains the window's challenger, and has the gate hear it with those that wait."""
        trained, window = self._train(place), self._eras[place].window
        challenger = Challenger(trained.key, window)
        sitting, rows = self._sitting(place), self._deciding(place, challenger)
        distrusted = sitting.is_distrusted(trained.key, rows, window.window_id)
        if distrusted:
            self._quarantined.add(window.window_id)
        settled = self._hear(place, self._sitting(place), challenger)
        return result.model_copy(
            update={
                "verdict": settled.verdict.value,
                "reasons": settled.reasons,
                "quarantined": distrusted,
                "training_seconds": trained.seconds,
                "from_cache": trained.from_cache,
            }
        )

    def _train(self, place: int) -> Trained:
        training, era = self._policy.training, self._eras[place]
        lesson = make_lesson(era, self._eras[:place], frozenset(self._quarantined), training)
        return self._store.trained(lesson, self._start())

    def _start(self) -> tuple[str, ...]:
        """What the retrainer would start from."""
        champion = None if self._champion == BASELINE else self._champion
        waiting = [WaitingChallenger(each.key, delta=each.delta) for each in self._waiting]
        promoted = [each.challenger.key for each in reversed(self._promoted)]
        return choose_start(self._policy.training, champion, waiting, promoted)

    def _hear(self, place: int, sitting: Sitting, challenger: Challenger) -> Settled:
        """Everybody on trial is compared with the champion, and at most one is promoted."""
        on_trial = {each.key: each for each in (*self._waiting, challenger)}
        rows = {key: self._deciding(place, each) for key, each in on_trial.items()}
        rulings = {key: sitting.ruling(key, rows[key]) for key in on_trial}
        settled = settle_sitting(rulings, self._policy.gate.waiting)
        self._waiting = [
            replace(each, delta=rulings[key].numbers["delta"])
            for key, each in on_trial.items()
            if settled[key].verdict is Verdict.UNDECIDED
        ]
        if self._anchor != self._champion and sitting.moves_anchor(self._since_promotion(place)):
            self._anchor = self._champion
        for key, each in on_trial.items():
            if settled[key].verdict is Verdict.PROMOTE:
                self._promote(place, each, frozenset(row.key for row in rows[key]))
        return settled[challenger.key]

    def _promote(self, place: int, challenger: Challenger, decided_on: frozenset[str]) -> None:
        self._promoted.append(Promoted(challenger, self._champion, decided_on))
        self._champion, self._promoted_at = challenger.key, place
        if self._anchor == BASELINE:
            self._anchor = challenger.key  # the first champion has nothing before it to slide away from

    def _sitting(self, place: int) -> Sitting:
        window, gate = self._eras[place].window, self._policy.gate
        windows = [era.window for era in self._eras]
        eras = eras_of(windows, window.window_id, self._quarantined, gate.eras)
        return Sitting(
            ask=self._to,
            champion=self._champion,
            anchor=self._anchor,
            eras={
                name: era_rows((self._hold_outs[each.sequence] for each in members), gate.eras.rows)
                for name, members in eras.items()
            },
            labels=window.label_names,
            gate=gate,
        )

    def _deciding(self, place: int, challenger: Challenger) -> tuple[HeldOutRow, ...]:
        """The latest rows at its birth, and all that came since; nobody's that are distrusted, but for the newest's."""
        held, size = self._held(place), self._policy.gate.pool_rows
        return tuple(rows_since_birth(held, challenger.birth.sequence, size).values())

    def _since_promotion(self, place: int) -> tuple[HeldOutRow, ...]:
        return tuple(first_rows_after(self._held(place), self._promoted_at, self._policy.gate.anchor_rows).values())

    def _held(self, place: int) -> list[tuple[ClosedWindow, tuple[HeldOutRow, ...]]]:
        """Hold-outs as of a window, the newest first, without those that are distrusted."""
        newest = self._eras[place].window.window_id
        windows = eligible([era.window for era in self._eras], newest, self._quarantined)
        trusted = [window for window in windows if window.window_id not in self._quarantined]
        return [(window, self._hold_outs[window.sequence]) for window in trusted]

    @cached_property
    def _hold_outs(self) -> list[tuple[HeldOutRow, ...]]:
        return [held_out(era.window.window_id, era.rows) for era in self._eras]

    def _to(self, model: str, rows: Sequence[HeldOutRow] | Sequence[WindowRow]) -> Floats:
        return self._answers(model, [row.text for row in rows])

    def _answers(self, model: str, texts: Sequence[str]) -> Floats:
        if model != BASELINE:
            return self._store.answers(model, texts)
        return self._store.answers(f"{BASELINE}-{self._policy.gate.baseline}", texts, self._baseline)

    def _judged(self, promoted: Promoted) -> Promotion:
        """What the promotion did to rows that had no part in it: most of them came later."""
        rows = [
            row
            for hold_out in self._hold_outs
            for row in hold_out
            if row.key not in promoted.decided_on and row.window_id not in self._quarantined
        ]
        before, after = (right(self._to(model, rows), rows) for model in (promoted.instead_of, promoted.challenger.key))
        return Promotion(
            window_id=promoted.challenger.birth.window_id,
            model=promoted.challenger.key,
            instead_of=promoted.instead_of,
            delta=count_flips(before, after).delta if rows else None,
            rows=len(rows),
        )

    def _grid(self) -> Grid:
        models = tuple(dict.fromkeys(self._serving))
        return Grid(
            models=models,
            windows=tuple(era.window.window_id for era in self._eras),
            accuracy=tuple(tuple(self._share(model, rows) for rows in self._hold_outs) for model in models),
            serving=tuple(models.index(model) for model in self._serving),
        )

    def _share(self, model: str, rows: Sequence[HeldOutRow]) -> float | None:
        return float(right(self._to(model, rows), rows).mean()) if rows else None
