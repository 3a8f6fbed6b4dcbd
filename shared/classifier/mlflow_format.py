"""Writes a classifier as an MLflow `transformers` model, which anybody's `mlflow.pyfunc.load_model` can ask."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.transformers
from huggingface_hub import ModelCard
from transformers import Pipeline, TextClassificationPipeline

from shared.classifier.model import Classifier
from shared.classifier.quiet import quietly

TASK = "text-classification"
# Without it a text beyond the window crashes the pipeline instead of being cut.
_PREDICT_OPTIONS = {"truncation": True}


def save_for_mlflow(classifier_folder: Path, target_folder: Path, metadata: dict[str, Any] | None = None) -> None:
    """Writes `model/`, `components/tokenizer/` and MLmodel into the new target folder, without asking the network.

    Args: metadata: goes into MLmodel, as strings, numbers, lists and dicts.
    Raises: ModelError if the classifier cannot be loaded; MlflowException if the target exists and is not empty.
    """
    # Absolute, since MLflow asks the hub about any name that could be a repository's.
    classifier = Classifier.load(classifier_folder.resolve())
    with quietly():
        # A pipeline, not a path: MLflow 3.17 cannot read transformers 5's task table, which a path needs.
        mlflow.transformers.save_model(
            _pipeline(classifier),
            path=str(target_folder),
            task=TASK,
            model_card=_card(classifier),
            pip_requirements=_requirements(),
            model_config=_PREDICT_OPTIONS,
            metadata=metadata,
        )
    # MLflow's guess at a licence names a hub page that a model trained here does not have.
    (target_folder / "LICENSE.txt").unlink(missing_ok=True)


def _pipeline(classifier: Classifier) -> Pipeline:
    return TextClassificationPipeline(  # type: ignore[no-untyped-call]
        task=TASK, model=classifier.model, tokenizer=classifier.tokenizer
    )


def _requirements() -> list[str]:
    """Given, because MLflow would infer them by loading the model in another process for a minute."""
    return [f"{package}=={version(package).split('+')[0]}" for package in ("torch", "transformers", "accelerate")]


def _card(classifier: Classifier) -> ModelCard:
    labels = ", ".join(classifier.labels)
    return ModelCard(
        f"---\nlibrary_name: transformers\n---\n# Text classifier\n\nLabels: {labels}. "
        f"Reads {classifier.window} tokens. "
        f"Calibrated: temperature {classifier.temperature:.4f}, folded into the last layer.\n"
    )
