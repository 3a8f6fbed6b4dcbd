"""From trained weights to a candidate's files: temperature, validation, MLflow's layout, digest."""

import shutil
from collections.abc import Sequence

import numpy as np

from services.retrainer.plan import Plan
from services.retrainer.progress import Point
from services.retrainer.runs import RunFolder, TrainingResult, TrainingRow
from services.retrainer.training import Trained
from shared.classifier.calibration import fit_temperature, fold_temperature
from shared.classifier.digest import model_digest
from shared.classifier.mlflow_format import save_for_mlflow
from shared.classifier.model import Classifier
from shared.classifier.probe import prove
from shared.errors import TrainingError
from shared.events import TrainingMetrics

# Below this a fitted temperature says more about the rows drawn than about the model.
LEAST_CALIBRATION_ROWS = 30


def finish(run: RunFolder, plan: Plan, trained: Trained, points: Sequence[Point]) -> TrainingResult:
    """Calibrates the model, proves that it answers, and writes it in MLflow's layout.

    Raises:
        TrainingError: The loss is not a number, or there is none.
        ModelError: The model does not answer as a classifier of these labels.
    """
    refuse_diverged(points)
    classifier = trained.classifier
    calibration, validation = run.rows("calibration"), run.rows("validation")
    temperature = calibrate(classifier, calibration)
    prove(classifier, plan.labels)
    return TrainingResult(
        model_digest=save(run, plan, classifier),
        metrics=measure(trained, points, temperature),
        calibration_rows=len(calibration) if is_enough(calibration) else 0,
        validation_rows=len(validation),
        validation_accuracy=accuracy(classifier, validation),
        replay_kept=trained.replay_kept,
        best_step=trained.best_step,
        resumed_from_step=trained.resumed_from_step,
    )


def refuse_diverged(points: Sequence[Point]) -> None:
    """Raises TrainingError unless the curve ends in a finite loss."""
    if not points or not np.isfinite(points[-1].loss):
        last = f"{points[-1].loss} at step {points[-1].step}" if points else "missing"
        raise TrainingError(f"the training loss is {last}; lower training.learning_rate")


def is_enough(rows: Sequence[TrainingRow]) -> bool:
    """Whether a temperature can be fitted on these rows."""
    return len(rows) >= LEAST_CALIBRATION_ROWS


def calibrate(classifier: Classifier, rows: Sequence[TrainingRow]) -> float:
    """Folds the temperature that fits the rows best into the model and returns it; 1 where they are too few."""
    if not is_enough(rows):
        return 1.0
    logits = classifier.predict([row.text for row in rows]).logits
    temperature = fit_temperature(logits, [row.label for row in rows])
    fold_temperature(classifier.model, temperature)
    return temperature


def accuracy(classifier: Classifier, rows: Sequence[TrainingRow]) -> float | None:
    """Share of the rows that the model gets right; None without rows."""
    if not rows:
        return None
    predicted = classifier.predict([row.text for row in rows]).predicted
    return float(np.mean(predicted == np.array([row.label for row in rows])))


def save(run: RunFolder, plan: Plan, classifier: Classifier) -> str:
    """Writes the model in MLflow's layout and returns the digest of its files."""
    for leftover in (run.flat_model, run.model):
        shutil.rmtree(leftover, ignore_errors=True)
    classifier.save(run.flat_model)
    save_for_mlflow(run.flat_model, run.model, {"window_id": plan.window_id, "plan_sha256": plan.sha256()})
    shutil.rmtree(run.flat_model)
    return model_digest(run.model)


def measure(trained: Trained, points: Sequence[Point], temperature: float) -> TrainingMetrics:
    """The job's numbers. Seconds and speed are the last attempt's, all else the whole training's."""
    return TrainingMetrics(
        steps=trained.steps,
        rows_seen=points[-1].rows_seen,
        tokens_seen=trained.tokens_seen,
        final_loss=points[-1].loss,
        seconds=trained.seconds,
        rows_per_second=points[-1].rows_per_second,
        temperature=temperature,
    )
