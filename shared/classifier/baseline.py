"""The generic baseline: what a user would have without training anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from shared.classifier.predictor import Predictor, Scores
from shared.errors import ConfigurationError

VADER, MAJORITY = "vader", "majority"
_SENTIMENTS = ["negative", "positive"]
# VADER is often certain and wrong; a clipped probability keeps one such row from dominating the log-likelihood.
_LOWEST, _HIGHEST = 0.01, 0.99


class VaderBaseline:
    """Hutto and Gilbert's sentiment lexicon; probability of positive = (compound + 1) / 2, clipped to [.01, .99]."""

    name = VADER
    has_scores = True

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._positive = [label.casefold() for label in labels].index("positive")
        self._analyzer = SentimentIntensityAnalyzer()

    def predict(self, texts: Sequence[str]) -> Scores:
        compounds = [self._analyzer.polarity_scores(text)["compound"] for text in texts]
        positive = np.clip((np.asarray(compounds, np.float64) + 1) / 2, _LOWEST, _HIGHEST)
        columns = np.empty((len(texts), 2))
        columns[:, self._positive], columns[:, 1 - self._positive] = positive, 1 - positive
        return Scores.from_probabilities(self.labels, columns)


class MajorityBaseline:
    """Always the most frequent label; among equals the first."""

    name = "majority"
    has_scores = False

    def __init__(self, labels: Sequence[str], counts: Mapping[str, int]) -> None:
        self.labels = tuple(labels)
        self._majority = int(np.argmax([counts.get(label, 0) for label in labels]))

    def predict(self, texts: Sequence[str]) -> Scores:
        columns = np.zeros((len(texts), len(self.labels)))
        columns[:, self._majority] = 1.0
        return Scores.from_probabilities(self.labels, columns)


class RelabelledModel:
    """A ready-made classifier whose columns are put into the order of our labels, matched by name without case."""

    has_scores = True

    def __init__(self, model: Predictor, labels: Sequence[str]) -> None:
        self._model = model
        self.name, self.labels = model.name, tuple(labels)
        self._columns = _matching_columns(model, labels)

    def predict(self, texts: Sequence[str]) -> Scores:
        theirs = self._model.predict(texts)
        return Scores(
            self.labels,
            theirs.probabilities[:, self._columns],
            theirs.logits[:, self._columns],
            theirs.tokens,
            theirs.truncated,
        )


def open_baseline(
    name: str,
    labels: Sequence[str],
    counts: Mapping[str, int] | None = None,
    cache_dir: Path | None = None,
    revision: str | None = None,
) -> Predictor:
    """`vader` (`majority` where the labels are not negative and positive), `majority`, a folder or a hub model.

    Args: counts: labelled rows by label, as known; cache_dir: where a hub model is kept.
    Raises: ConfigurationError if the hub model cannot be had or its labels are others; ModelError if it is damaged.
    """
    if name not in (VADER, MAJORITY):
        return _open_model(name, labels, cache_dir, revision)
    if name == VADER and sorted(label.casefold() for label in labels) == _SENTIMENTS:
        return VaderBaseline(labels)
    return MajorityBaseline(labels, counts or {})


def _open_model(name: str, labels: Sequence[str], cache_dir: Path | None, revision: str | None) -> Predictor:
    from shared.classifier.answering import AnsweringClassifier  # the lexicon alone needs no torch

    if Path(name).is_dir():
        folder = Path(name)
    elif cache_dir is None:
        raise ConfigurationError(f"baseline {name!r} is no folder, and there is no cache folder to fetch a model into")
    else:
        from shared.classifier.hub import fetch_classifier

        folder = fetch_classifier(name, cache_dir, revision)
    return RelabelledModel(AnsweringClassifier.load(folder, name=name), labels)


def _matching_columns(model: Predictor, labels: Sequence[str]) -> list[int]:
    columns = {label.casefold(): column for column, label in enumerate(model.labels)}
    wanted = [label.casefold() for label in labels]
    if set(columns) != set(wanted):
        raise ConfigurationError(
            f"baseline {model.name!r} has labels {list(model.labels)}, the stream has {list(labels)}; "
            "choose a baseline with the same labels"
        )
    return [columns[label] for label in wanted]
