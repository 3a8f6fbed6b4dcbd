"""Looks at a window's labels before they are learned, with the model that training starts from and never saw them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.retrainer.plan import Plan
from services.retrainer.runs import RunFolder, TrainingRow
from services.retrainer.suspicion import distrust, report_on, suspicious_rows
from shared.classifier.answering import AnsweringClassifier
from shared.label_quality import LabelQuality, SuspiciousRow

# Enough for people to see what is wrong.
MOST_ROWS, MOST_CHARS = 40, 300

Probabilities = NDArray[np.float64]


def looks(plan: Plan) -> bool:
    """Whether there is something to look with. A base under a fresh head knows no labels.

    Several merged windows are left to the gate: what is wrong with one of them would condemn all.
    """
    return plan.training.label_quality.enabled and bool(plan.start.parents) and len(plan.windows) == 1


def look_at_labels(run: RunFolder, plan: Plan) -> LabelQuality:
    """What the start model says of the window's new training rows; kept in the run folder, and asked once."""
    if (known := run.quality()) is not None:
        return known
    rows = [row for row in run.rows("train") if row.window_id == plan.window_id]
    scores = AnsweringClassifier.load(run.setup().start_folders[0]).predict([row.text for row in rows])
    found = judged(rows, scores.probabilities.astype(np.float64), plan)
    run.write(run.quality_file, found)
    return found


def judged(rows: Sequence[TrainingRow], probabilities: Probabilities, plan: Plan) -> LabelQuality:
    """What a model's answers say of the labels.

    Args: probabilities: (n, k), of a model that learned none of the n rows; the plan names it, and the k labels.
    """
    settings, names = plan.training.label_quality, plan.labels
    suspicious = suspicious_rows(np.array([row.label for row in rows], np.int64), probabilities)
    report = report_on(suspicious, [row.source for row in rows])
    return LabelQuality(
        report=report,
        distrust=distrust(report, settings),
        version=plan.start.version,
        limit=settings.limit,
        labels={name: sum(row.label == label for row in rows) for label, name in enumerate(names)},
        confusion=_confusion(rows, suspicious, probabilities, names),
        worst=tuple(_told(rows[place], probabilities[place], names) for place in _surest(suspicious, probabilities)),
    )


def _confusion(
    rows: Sequence[TrainingRow], suspicious: NDArray[np.bool_], probabilities: Probabilities, names: Sequence[str]
) -> dict[str, dict[str, int]]:
    places = np.flatnonzero(suspicious).tolist()
    pairs = Counter((rows[place].label, int(probabilities[place].argmax())) for place in places)
    found: dict[str, dict[str, int]] = {}
    for (given, said), count in sorted(pairs.items()):
        found.setdefault(names[given], {})[names[said]] = count
    return found


def _surest(suspicious: NDArray[np.bool_], probabilities: Probabilities) -> list[int]:
    """Places of suspicious rows, the model's confidence falling; of equals, in the order of the stream."""
    places = np.flatnonzero(suspicious)
    order = np.argsort(-probabilities[places].max(axis=1, initial=0.0), kind="stable")
    return [int(place) for place in places[order][:MOST_ROWS]]


def _told(row: TrainingRow, probabilities: NDArray[np.float64], names: Sequence[str]) -> SuspiciousRow:
    said = int(probabilities.argmax())
    return SuspiciousRow(
        offset=row.offset,
        text=row.text if len(row.text) <= MOST_CHARS else f"{row.text[:MOST_CHARS]}…",
        source=row.source,
        given=names[row.label],
        said=names[said],
        confidence=min(1.0, float(probabilities[said])),
    )
