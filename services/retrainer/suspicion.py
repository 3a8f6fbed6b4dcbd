"""Which labels of a window contradict a model that never saw them, before anything is learned from them.

Confident learning: a row is suspicious if the model is as sure of another label as it usually is of that label's own
rows. The shares that matter are those of whole sources: a broken importer flips many labels, a tired annotator few.
Source: Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from scipy.stats import binomtest

from shared.training_settings import LabelQualitySettings

NO_SOURCE = "no source"


class Suspects(BaseModel):
    """Suspicious rows among some rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    suspicious: NonNegativeInt
    rows: NonNegativeInt

    @property
    def share(self) -> float:
        """Suspicious share; 0 without rows."""
        return self.suspicious / self.rows if self.rows else 0.0

    def proven_above(self, limit: float, alpha: float) -> bool:
        """Whether the share is above the limit, by an exact one-sided binomial test."""
        if not self.rows:
            return False
        return bool(binomtest(self.suspicious, self.rows, limit, alternative="greater").pvalue <= alpha)


class QualityReport(BaseModel):
    """The window's labels as a model sees them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    window: Suspects
    sources: dict[str, Suspects]

    def distrust(self, settings: LabelQualitySettings) -> str | None:
        """Why the window must not be learned, naming its worst source; None if it may.

        Many sources are many chances to be unlucky, so that sources share the level among them (Bonferroni). A source
        condemns the window only if it gives a good part of it: what is rare teaches little.
        """
        large = {name: found for name, found in self.sources.items() if self._is_large(found, settings)}
        level = settings.alpha / max(1, len(large))
        condemned = [name for name, found in large.items() if found.proven_above(settings.limit, level)]
        if not condemned and not self.window.proven_above(settings.limit, settings.alpha):
            return None
        worst = max(condemned or self.sources, key=lambda name: self.sources[name].share)
        return (
            f"{self.window.share:.0%} of its {self.window.rows} labels are suspicious, {self.sources[worst].share:.0%} "
            f"of the {self.sources[worst].rows} from {worst!r}; the limit is {settings.limit:.0%}"
        )

    def _is_large(self, found: Suspects, settings: LabelQualitySettings) -> bool:
        return found.rows >= settings.source_share * self.window.rows


def examine(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], sources: Sequence[str | None]
) -> QualityReport:
    """Finds the suspicious rows.

    Args: labels: (n,) label ids; probabilities: (n, k) of a model that learned none of these rows; sources: n names.
    """
    found = suspicious_rows(labels, probabilities)
    by_source: defaultdict[str, list[bool]] = defaultdict(list)
    for source, suspect in zip(sources, found.tolist(), strict=True):
        by_source[source or NO_SOURCE].append(suspect)
    return QualityReport(
        window=Suspects(suspicious=int(found.sum()), rows=len(found)),
        sources={name: Suspects(suspicious=sum(flags), rows=len(flags)) for name, flags in by_source.items()},
    )


def suspicious_rows(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether each label is suspicious; none where a label is missing altogether: then nothing can be told."""
    if len(np.unique(labels)) < probabilities.shape[1]:
        return np.zeros(len(labels), np.bool_)
    # Its import takes seconds, and only a training job needs it.
    from cleanlab.filter import find_label_issues

    found = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    return np.asarray(found, np.bool_)
