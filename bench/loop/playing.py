"""A policy from the first window of a stream to the last: who serves when, and what training that took."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.gate.desk import Wants
from bench.loop.policies import Policy
from bench.loop.stream import Stream
from services.control.backtest.judging import BASELINE, Floats, right
from services.control.backtest.lesson import Lesson, make_lesson
from services.control.backtest.policy import Policy as MillPolicy
from services.control.backtest.recording import Era
from services.control.backtest.rehearsal import Rehearsal
from services.control.backtest.store import Learner, Predict, Store, Trained
from services.evaluator.comparison import Flips, count_flips
from services.evaluator.pool import HeldOutRow, held_out, latest_rows
from services.retrainer.start import choose_start
from shared.events import Side
from shared.settings import GateSettings, WindowSettings

GATE = GateSettings()
Answer = Callable[[str, Sequence[str]], Floats]
"""A model's probabilities for texts; before the first promotion the baseline answers."""


@dataclass(frozen=True)
class Played:
    """What a policy did.

    Attributes:
        serving: The model in service after each window.
        row_passes: Rows that went through training, each time counted: the same on every machine.
    """

    serving: tuple[str, ...]
    trainings: int
    row_passes: float
    seconds: float


class MeteredStore(Store):
    """A store that counts what is asked of it, whether it has the model already or not."""

    def __init__(self, root: Path, learner: Learner) -> None:
        super().__init__(root, learner)
        self.trainings, self.row_passes, self.seconds = 0, 0.0, 0.0

    def trained(self, lesson: Lesson, parents: Sequence[str]) -> Trained:
        trained = super().trained(lesson, parents)
        self.trainings += 1
        self.row_passes += lesson.training.epochs * len(lesson.rows[Side.TRAIN])
        self.seconds += trained.seconds
        return trained


def answering(store: Store, baseline: Predict) -> Answer:
    """Asks trained models and the baseline alike."""

    def answer(model: str, texts: Sequence[str]) -> Floats:
        if model == BASELINE:
            return store.answers(f"{BASELINE}-{GATE.baseline}", texts, baseline)
        return store.answers(model, texts)

    return answer


def play(policy: Policy, stream: Stream, store: MeteredStore, baseline: Predict) -> Played:
    """Plays the whole stream. Args: store: one that nothing has been asked of."""
    if policy.wants is None:
        serving = _at_the_mill(policy, stream.eras, store, baseline)
    else:
        serving = OneLook(policy, policy.wants, stream.eras, store, answering(store, baseline)).run()
    return Played(serving, store.trainings, store.row_passes, store.seconds)


def _at_the_mill(policy: Policy, eras: Sequence[Era], store: Store, baseline: Predict) -> tuple[str, ...]:
    mill = MillPolicy(name=policy.name, window=WindowSettings(), training=policy.training, gate=GATE)
    grid = Rehearsal(mill, eras, store, baseline).run().grid
    return tuple(grid.models[place] for place in grid.serving)


class OneLook:
    """Looks at each challenger once, when it is new, and forgets it unless it is promoted."""

    def __init__(self, policy: Policy, wants: Wants, eras: Sequence[Era], store: Store, answer: Answer) -> None:
        self._policy, self._wants, self._eras = policy, wants, eras
        self._store, self._answer = store, answer
        self._champion = BASELINE

    def run(self) -> tuple[str, ...]:
        """Who serves after each window."""
        return tuple(self._after(place) for place in range(len(self._eras)))

    def _after(self, place: int) -> str:
        if self._policy.windows is None or place < self._policy.windows:
            challenger = self._train(place)
            if self._wants(self._flips(place, challenger)):
                self._champion = challenger
        return self._champion

    def _train(self, place: int) -> str:
        training = self._policy.training
        lesson = make_lesson(self._eras[place], self._eras[:place], frozenset(), training)
        champion = None if self._champion == BASELINE else self._champion
        return self._store.trained(lesson, choose_start(training, champion, ())).key

    def _flips(self, place: int, challenger: str) -> Flips:
        rows = self._rows(place)
        champion, new = (self._answer(model, [row.text for row in rows]) for model in (self._champion, challenger))
        return count_flips(right(champion, rows), right(new, rows))

    def _rows(self, place: int) -> tuple[HeldOutRow, ...]:
        if self._policy.pooled:
            return latest_rows(reversed(self._hold_outs[: place + 1]), GATE.pool_rows)
        return self._hold_outs[place]

    @cached_property
    def _hold_outs(self) -> list[tuple[HeldOutRow, ...]]:
        return [held_out(era.window.window_id, era.rows) for era in self._eras]
