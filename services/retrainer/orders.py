"""What a window of labelled reviews, several merged ones, or an order to rebuild ask for: one candidate."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from services.retrainer.cycle import RunningJob
from services.retrainer.history import History
from services.retrainer.plan import DecisionWait
from services.retrainer.rebuild import Rebuild
from services.retrainer.runs import RunFolder
from shared.errors import RetryableError, TidemillError
from shared.events import Candidate, CandidateStatus, ClosedWindow, utc_now
from shared.label_quality import LabelQuality
from shared.training_settings import TrainingSettings

log = structlog.get_logger("retrainer")


class Workshop(Protocol):
    """Who does the work. All of it may block, except `launch`, and may be done again."""

    def found(self, windows: Sequence[ClosedWindow]) -> Candidate | None:
        """The candidate of windows whose model is registered already."""

    def prepare(self, windows: Sequence[ClosedWindow], history: History, wait: DecisionWait) -> RunFolder:
        """A run folder that a job can work on."""

    def launch(self, run: RunFolder) -> RunningJob:
        """Starts the job."""

    def register(self, run: RunFolder, history: History) -> Candidate:
        """Registers the finished run."""

    def record_look(self, run: RunFolder, windows: Sequence[ClosedWindow]) -> str:
        """Records what was found wrong with the labels; returns the id of the record's run."""


class WindowOrder:
    """Windows that wait for their candidate, oldest first; several only if all are trainable."""

    def __init__(
        self,
        windows: Sequence[ClosedWindow],
        history: History,
        workshop: Workshop,
        settings: TrainingSettings,
        rebuild: Rebuild | None = None,
    ) -> None:
        """Args: rebuild: what the windows are trained again for; None: they are new."""
        self.windows, self._rebuild = tuple(windows), rebuild
        self._history, self._workshop, self._settings = history, workshop, settings

    @property
    def name(self) -> str:
        return self._rebuild.name if self._rebuild else self.windows[-1].window_id

    def answer(self) -> Candidate | None:
        if self._rebuild is not None:
            return self.failed(self._rebuild.objection) if self._rebuild.objection else None
        newest = self.windows[-1]
        if newest.trainable:
            return None
        return self._without_model(CandidateStatus.SKIPPED, newest.not_trainable_because or "not trainable")

    def awaited(self) -> str | None:
        depends = self._settings.start != "base" or self._settings.replay_share > 0
        return self._history.undecided() if depends and self._rebuild is None else None

    def found(self) -> Candidate | None:
        return self._workshop.found(self.windows)

    def prepare(self, wait: DecisionWait) -> RunFolder:
        return self._workshop.prepare(self.windows, self._history, wait)

    def launch(self, run: RunFolder) -> RunningJob:
        return self._workshop.launch(run)

    def register(self, run: RunFolder) -> Candidate:
        """The candidate; where the job found the labels not fit to be learned, one that says so."""
        quality = run.quality()
        if quality is not None and quality.distrust is not None:
            return self._distrusted(run, quality, quality.distrust)
        return self._workshop.register(run, self._history)

    def failed(self, reason: str) -> Candidate:
        return self._without_model(CandidateStatus.FAILED, reason)

    def _distrusted(self, run: RunFolder, quality: LabelQuality, reason: str) -> Candidate:
        run_id = self._recorded(run)
        log.warning("window_distrusted", window_id=self.name, reason=reason)
        candidate = self._without_model(CandidateStatus.DISTRUSTED, reason, quality.numbers())
        return candidate.model_copy(update={"run_id": run_id})

    def _recorded(self, run: RunFolder) -> str | None:
        try:
            return self._workshop.record_look(run, self.windows)
        except RetryableError:
            raise
        except TidemillError as error:
            # The record is for people; what becomes of the window goes by the candidate.
            log.error("look_not_recorded", window_id=self.name, error=str(error))
            return None

    def _without_model(
        self, status: CandidateStatus, reason: str, numbers: Mapping[str, float] | None = None
    ) -> Candidate:
        return Candidate(
            window_id=self.name,
            window_ids=tuple(window.window_id for window in self.windows),
            status=status,
            reason=reason,
            numbers=dict(numbers or {}),
            rebuild_of=self._rebuild.version if self._rebuild else None,
            without=self._rebuild.without if self._rebuild else (),
            created_at=utc_now(),
        )
