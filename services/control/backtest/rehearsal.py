"""One policy, from the first recorded window to the last: learn, judge, serve, as the mill would have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from services.control.backtest.judging import Floats, flips_between, is_quarantined, right, rule
from services.control.backtest.lesson import make_lesson
from services.control.backtest.policy import Policy
from services.control.backtest.recording import Era
from services.control.backtest.result import EraResult, Grid, PolicyResult, Promotion
from services.control.backtest.store import Predict, Store, Trained
from services.evaluator.comparison import Flips, evidence
from services.evaluator.gate import Ruling
from services.evaluator.pool import HeldOutRow, eligible, held_out, latest_rows
from shared.archive import WindowRow
from shared.events import Verdict

BASELINE = "baseline"
# Undecided challengers that wait for more evidence; one more crowds out the one with the least.
WAITING = 2


@dataclass(frozen=True)
class Challenger:
    """A model on trial, with the evidence so far and the rows that gave it."""

    key: str
    window_id: str
    flips: Flips
    decided_on: frozenset[str]


class Rehearsal:
    """State of one policy's run. The champion is a key of the store; before the first promotion it is the baseline."""

    def __init__(self, policy: Policy, eras: Sequence[Era], store: Store, baseline: Predict) -> None:
        self._policy, self._eras, self._store, self._baseline = policy, eras, store, baseline
        self._champion = BASELINE
        self._waiting: list[Challenger] = []
        self._quarantined: set[str] = set()
        self._promoted: list[tuple[Challenger, str]] = []
        self._serving: list[str] = []

    def run(self) -> PolicyResult:
        """Plays every window."""
        results = [self._play(place, era) for place, era in enumerate(self._eras)]
        return PolicyResult(
            policy=self._policy.name,
            eras=tuple(results),
            promotions=tuple(self._judged(challenger, before) for challenger, before in self._promoted),
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
        trained = self._train(place) if era.window.trainable else None
        self._hear_waiting(place)
        if trained is not None:
            result = self._hear_new(place, trained, result)
        self._serving.append(self._champion)
        return result

    def _train(self, place: int) -> Trained:
        training, era = self._policy.training, self._eras[place]
        lesson = make_lesson(era, self._eras[:place], frozenset(self._quarantined), training)
        return self._store.trained(lesson, self._start())

    def _start(self) -> str | None:
        warm = self._policy.training.start == "champion" and self._champion != BASELINE
        return self._champion if warm else None

    def _hear_waiting(self, place: int) -> None:
        """Those who wait are judged with what the window's hold-out adds; a promotion clears the room."""
        fresh, pool = self._hold_outs[place], self._pool(place)
        for challenger in tuple(self._waiting):
            if challenger not in self._waiting:
                return
            more = flips_between(self._to(self._champion, fresh), self._to(challenger.key, fresh), fresh)
            keys = challenger.decided_on | {row.key for row in fresh}
            self._waiting.remove(challenger)
            self._settle(replace(challenger, flips=challenger.flips + more, decided_on=keys), pool)

    def _hear_new(self, place: int, trained: Trained, result: EraResult) -> EraResult:
        window_id, pool = self._eras[place].window.window_id, self._pool(place)
        champion, answers = self._to(self._champion, pool), self._to(trained.key, pool)
        flips = flips_between(champion, answers, pool)
        quarantined = self._champion != BASELINE and is_quarantined(
            champion, answers, pool, window_id, self._policy.gate
        )
        if quarantined:
            self._quarantined.add(window_id)
        ruling = self._settle(Challenger(trained.key, window_id, flips, frozenset(row.key for row in pool)), pool)
        return result.model_copy(
            update={
                "verdict": ruling.verdict.value,
                "reasons": ruling.reasons,
                "quarantined": quarantined,
                "training_seconds": trained.seconds,
                "from_cache": trained.from_cache,
            }
        )

    def _settle(self, challenger: Challenger, pool: Sequence[HeldOutRow]) -> Ruling:
        """Promotes, has it wait, or drops it."""
        answers = self._to(challenger.key, pool)
        ruling = rule(challenger.flips, answers, pool, self._champion == BASELINE, self._policy.gate)
        if ruling.verdict is Verdict.PROMOTE:
            self._promoted.append((challenger, self._champion))
            self._champion = challenger.key
            self._waiting.clear()
        elif ruling.verdict is Verdict.UNDECIDED:
            self._waiting.append(challenger)
            if len(self._waiting) > WAITING:
                self._waiting.remove(min(self._waiting, key=lambda each: evidence(each.flips)))
        return ruling

    def _pool(self, place: int) -> tuple[HeldOutRow, ...]:
        eras = {era.window.window_id: place for place, era in enumerate(self._eras)}
        trusted = eligible(
            [era.window for era in self._eras], self._eras[place].window.window_id, frozenset(self._quarantined)
        )
        hold_outs = (self._hold_outs[eras[window.window_id]] for window in trusted)
        return latest_rows(hold_outs, self._policy.gate.pool_rows)

    @cached_property
    def _hold_outs(self) -> list[tuple[HeldOutRow, ...]]:
        return [held_out(era.window.window_id, era.rows) for era in self._eras]

    def _to(self, model: str, rows: Sequence[HeldOutRow] | Sequence[WindowRow]) -> Floats:
        return self._answers(model, [row.text for row in rows])

    def _answers(self, model: str, texts: Sequence[str]) -> Floats:
        if model != BASELINE:
            return self._store.answers(model, texts)
        return self._store.answers(f"{BASELINE}-{self._policy.gate.baseline}", texts, self._baseline)

    def _judged(self, challenger: Challenger, before: str) -> Promotion:
        """What the promotion did to rows that had no part in it: most of them came later."""
        rows = [
            row
            for hold_out in self._hold_outs
            for row in hold_out
            if row.key not in challenger.decided_on and row.window_id not in self._quarantined
        ]
        delta = flips_between(self._to(before, rows), self._to(challenger.key, rows), rows).delta if rows else None
        return Promotion(
            window_id=challenger.window_id,
            model=challenger.key,
            instead_of=before,
            delta=delta,
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
