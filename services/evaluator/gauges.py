"""What the monitor knows, told to Prometheus every few seconds."""

import time
from collections.abc import Sequence

from services.evaluator.estimates import Profile, distances, expected_accuracy, profile, shares
from services.evaluator.lookout import Lookout
from services.evaluator.notebook import Notebook
from services.evaluator.reign import Reign
from services.evaluator.sketches import mean_shift
from shared.metrics import InputTrait, MonitorMetrics, Span
from shared.monitor_settings import MonitorSettings

PERIOD_SECONDS = 5.0


class Gauges:
    """Reads lookout and notebook; changes neither."""

    def __init__(
        self, settings: MonitorSettings, labels: Sequence[str], notebook: Notebook, metrics: MonitorMetrics
    ) -> None:
        self._settings, self._labels, self._notebook, self._metrics = settings, labels, notebook, metrics
        self._due = 0.0
        self._reference: tuple[Reign, Profile] | None = None

    def update(self, lookout: Lookout) -> None:
        """Tells everything, if the period is over."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PERIOD_SECONDS
        self._show_reign(lookout)
        self._show_served()
        if lookout.reign is not None:
            self._show_input(lookout.reign)

    def _show_reign(self, lookout: Lookout) -> None:
        metrics, vigil = self._metrics, lookout.vigil
        metrics.waiting.set(len(lookout.waiting))
        for gauge in (metrics.accuracy, metrics.evidence):
            gauge.clear()  # who is no contender any more has no figure
        if vigil is None:
            return
        found = vigil.prequential
        metrics.rows.set(found.rows)
        metrics.distrusted.set(vigil.distrusted_rows)
        for role in lookout.contenders if found.rows else ():
            metrics.accuracy.labels(role.value, Span.REIGN.value).set(found.overall(role).accuracy)
            metrics.accuracy.labels(role.value, Span.RECENT.value).set(found.recent(role).accuracy)
        for role, watch in vigil.watches.items():
            metrics.evidence.labels(role.value).set(watch.mean_pot / self._settings.alarm)

    def _show_served(self) -> None:
        metrics, feedback = self._metrics, self._notebook.feedback
        metrics.served_accuracy.clear()
        for version, tally in feedback.accuracy().items():
            metrics.served_accuracy.labels(version).set(tally.accuracy)
        latest = feedback.latest(self._settings.recent_rows)
        expected = expected_accuracy([answer.score for answer in latest])
        if expected is None:
            return
        metrics.expected_accuracy.set(expected)
        for label, share in shares([answer.label for answer in latest], self._labels).items():
            metrics.answer_share.labels(label).set(share)

    def _show_input(self, reign: Reign) -> None:
        """Nothing before there is a batch on both sides: a few texts differ from any others."""
        rows, least = self._settings.recent_rows, self._settings.batch_rows
        latest = self._notebook.texts(rows, beyond=reign.after_offset)
        if self._reference is None or self._reference[0] != reign:
            self._reference = reign, profile(self._notebook.texts(rows, up_to=reign.after_offset))
            self._metrics.input_drift.clear()  # measured from another champion's beginning, and by its eyes
        reference = self._reference[1]
        if len(latest) >= least <= reference.lengths.sum():
            for trait, distance in distances(reference, profile(latest)).items():
                self._metrics.input_drift.labels(trait.value).set(distance)
        self._show_meaning(reign)

    def _show_meaning(self, reign: Reign) -> None:
        """By the champion's eyes: sketches of two models cannot be compared."""
        champion, rows, least = reign.champion.digest, self._settings.recent_rows, self._settings.batch_rows
        reference = self._notebook.sketches(champion, rows, up_to=reign.after_offset)
        latest = self._notebook.sketches(champion, rows, beyond=reign.after_offset)
        if len(latest) >= least <= len(reference):
            self._metrics.input_drift.labels(InputTrait.EMBEDDING.value).set(mean_shift(reference, latest))
