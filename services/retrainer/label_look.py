"""Looks at a window's labels before they are learned, with the model that training starts from and never saw them."""

import numpy as np

from services.retrainer.plan import Plan
from services.retrainer.runs import LabelQuality, RunFolder
from services.retrainer.suspicion import examine
from shared.classifier.model import Classifier


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
    setup = run.setup()
    scores = Classifier.load(setup.start_folders[0]).predict([row.text for row in rows])
    labels = np.array([row.label for row in rows], np.int64)
    report = examine(labels, scores.probabilities.astype(np.float64), [row.source for row in rows])
    found = LabelQuality(report=report, distrust=report.distrust(plan.training.label_quality))
    run.write(run.quality_file, found)
    return found
