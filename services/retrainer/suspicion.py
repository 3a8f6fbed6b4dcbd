"""Which labels of a window contradict a model that never saw them, before anything is learned from them.

Confident learning: a row is suspicious if the model is as sure of another label as it usually is of that label's own
rows. The shares that matter are those of whole sources: a broken importer flips many labels, a tired annotator few.
Source: Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.label_quality import NO_SOURCE, QualityReport, Suspects
from shared.training_settings import LabelQualitySettings


def distrust(report: QualityReport, settings: LabelQualitySettings) -> str | None:
    """Why the window must not be learned, naming its worst source; None if it may.

    Many sources are many chances to be unlucky, so that sources share the level among them (Bonferroni). A source
    condemns the window only if it gives a good part of it: what is rare teaches little.
    """
    window, sources = report.window, report.sources
    large = {name: found for name, found in sources.items() if found.rows >= settings.source_share * window.rows}
    level = settings.alpha / max(1, len(large))
    condemned = [name for name, found in large.items() if found.proven_above(settings.limit, level)]
    if not condemned and not window.proven_above(settings.limit, settings.alpha):
        return None
    worst = max(condemned or sources, key=lambda name: sources[name].share)
    return (
        f"{window.share:.0%} of its {window.rows} labels are suspicious, {sources[worst].share:.0%} "
        f"of the {sources[worst].rows} from {worst!r}; the limit is {settings.limit:.0%}"
    )


def report_on(suspicious: NDArray[np.bool_], sources: Sequence[str | None]) -> QualityReport:
    """Counts the suspicious rows, of the window and of every source.

    Args: suspicious: (n,) as `suspicious_rows` finds them; sources: n names.
    """
    by_source: defaultdict[str, list[bool]] = defaultdict(list)
    for source, suspect in zip(sources, suspicious.tolist(), strict=True):
        by_source[source or NO_SOURCE].append(suspect)
    return QualityReport(
        window=Suspects(suspicious=int(suspicious.sum()), rows=len(suspicious)),
        sources={name: Suspects(suspicious=sum(flags), rows=len(flags)) for name, flags in by_source.items()},
    )


def suspicious_rows(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether each label is suspicious; none where a label is missing altogether: then nothing can be told.

    Args: labels: (n,) label ids; probabilities: (n, k) of a model that learned none of these rows.
    """
    if len(np.unique(labels)) < probabilities.shape[1]:
        return np.zeros(len(labels), np.bool_)
    # Its import takes seconds, and only a training job needs it.
    from cleanlab.filter import find_label_issues

    found = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    return np.asarray(found, np.bool_)
