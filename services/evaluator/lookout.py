"""Has the models of a reign asked about fresh reviews, and folds their answers in the order of the stream."""

import time
from collections.abc import Sequence
from itertools import takewhile

import structlog

from services.evaluator.exam import Model, Unavailable
from services.evaluator.notebook import Notebook, Review
from services.evaluator.reign import Reign
from services.evaluator.shadow import Answers, Questions, Shadow
from services.evaluator.vigil import Vigil
from shared.metrics import Role
from shared.monitor_settings import MonitorSettings

log = structlog.get_logger("lookout")

# Reviews of one batch at most: while it is under way, nothing is known of the next.
MOST_ROWS = 256
PAUSE_SECONDS = 10.0
# Texts of a batch, and of those before the reign, that the champion makes sketches of: that is a second pass.
SKETCHED_ROWS = 64
REFERENCE_ROWS = 256


class Lookout:
    """One reign at a time. What it knows follows from the notebook; only the place it has reached is its own."""

    def __init__(self, settings: MonitorSettings, notebook: Notebook, shadow: Shadow) -> None:
        self._settings, self._notebook, self._shadow = settings, notebook, shadow
        self._unusable: set[Model] = set()
        self._not_before = 0.0
        self.reign: Reign | None = None
        self._begin()

    def serve(self, reign: Reign | None) -> None:
        """Turns to another reign; what was answered before counts for it as far as it is fresh to it."""
        if reign != self.reign:
            self.reign = reign
            self._begin()

    def look_again(self) -> None:
        """The notebook holds something new."""
        self._is_behind = True

    def restart(self) -> None:
        """The notebook is not what it was: counts it again from the beginning."""
        self._begin()

    def step(self) -> None:
        """Takes what came out, folds what can be folded, and begins the next batch if there is enough for one."""
        self._take(self._shadow.result())
        if self.vigil is None or self.reign is None:
            return
        if self._is_behind:
            self._fold(self.vigil, self.reign)
        if len(self.waiting) >= self._settings.batch_rows and not self._shadow.is_busy:
            self._ask(self.reign)

    def close(self) -> None:
        """Ends what is under way; a restart asks it again."""
        self._shadow.close()

    def _begin(self) -> None:
        self.contenders = {
            role: model
            for role, model in (self.reign.contenders if self.reign else {}).items()
            if model not in self._unusable
        }
        is_watched = Role.CHAMPION in self.contenders
        self.vigil = Vigil(self.contenders, self._settings) if is_watched else None
        self.waiting: Sequence[Review] = ()
        self._reached = self.reign.after_offset if self.reign else -1
        self._is_behind = self._bets_anew = True

    def _take(self, result: Answers | Unavailable | None) -> None:
        match result:
            case Answers():
                self._keep(result)
            case Unavailable():
                log.warning("not_watching", reason=result.reason)
                self._not_before = time.monotonic() + PAUSE_SECONDS
            case None:
                pass

    def _keep(self, answers: Answers) -> None:
        for model, labels in answers.labels.items():
            self._notebook.keep(model.digest, labels.items())
        for model, sketches in answers.sketches.items():
            self._notebook.keep_sketches(model.digest, sketches.items())
        for model, reason in answers.unusable.items():
            log.error("cannot_be_watched", version=model.version, reason=reason)
            self._unusable.add(model)
        if answers.unusable:
            self._begin()
        self._is_behind = True

    def _fold(self, vigil: Vigil, reign: Reign) -> None:
        """Rows count in the order of the stream, so one without an answer holds back those behind it."""
        at = reign.after.timestamp()
        while found := self._notebook.after(self._reached, at, MOST_ROWS):
            answered = list(takewhile(self._is_answered, found))
            for review in answered:
                vigil.add(review.offset, self._right(review))
                self._reached = review.offset
            if not answered:
                break
        self.waiting, self._is_behind = found, False
        self._note_bets(vigil, reign)

    def _note_bets(self, vigil: Vigil, reign: Reign) -> None:
        made = {self.contenders[role].version: bets for role, bets in vigil.take_bets().items() if bets}
        if made or self._bets_anew:
            self._notebook.bet(reign.number, made, anew=self._bets_anew)
            self._bets_anew = False

    def _is_answered(self, review: Review) -> bool:
        return all(model.digest in review.answers for model in self.contenders.values())

    def _right(self, review: Review) -> dict[Role, bool]:
        return {role: review.answers[model.digest] == review.label for role, model in self.contenders.items()}

    def _ask(self, reign: Reign) -> None:
        if time.monotonic() < self._not_before:
            return
        missing = {
            model: tuple(review.offset for review in self.waiting if model.digest not in review.answers)
            for model in self.contenders.values()
        }
        waiting = {review.offset: review.text for review in self.waiting}
        earlier = self._notebook.without_sketch(reign.champion.digest, REFERENCE_ROWS, up_to=reign.after_offset)
        sketched = (*earlier, *list(waiting)[:: -(-len(waiting) // SKETCHED_ROWS)])
        self._shadow.ask(Questions(waiting | earlier, missing, {reign.champion: sketched}))
