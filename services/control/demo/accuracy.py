"""How good the baseline, the first and the last champion are on reviews that were never published."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.control.demo.report import SampleAnswer
from services.control.demo.story import Review, Story
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.baseline import open_baseline
from shared.classifier.predictor import Predictor, Scores
from shared.registry import Registry
from shared.settings import Settings
from shared.text import prepare

SAMPLES_EACH = 3


def models(settings: Settings, registry: Registry, champions: Sequence[str], folder: Path) -> dict[str, Predictor]:
    """The baseline, and the first and last champion as the registry has them."""
    found: dict[str, Predictor] = {"baseline": open_baseline(settings.evaluator.gate.baseline, settings.stream.labels)}
    if champions:
        for name, version in (("first", champions[0]), ("last", champions[-1])):
            files = registry.download(version, folder / version)
            found[name] = AnsweringClassifier.load(files, max_tokens=settings.model.max_tokens)
    return found


def measure(
    predictors: Mapping[str, Predictor], story: Story
) -> tuple[dict[str, dict[str, float]], tuple[SampleAnswer, ...]]:
    """({'movies', 'products'} -> model -> accuracy, some answers)."""
    accuracy: dict[str, dict[str, float]] = {}
    samples: list[SampleAnswer] = []
    for name, reviews in (("movies", story.movies), ("products", story.products)):
        scores = {
            model: predictor.predict([prepare(r.text) for r in reviews]) for model, predictor in predictors.items()
        }
        accuracy[name] = {model: _accuracy(found, reviews) for model, found in scores.items()}
        if "first" in scores:
            samples += _samples(scores["first"], scores["last"], reviews[:SAMPLES_EACH])
    return accuracy, tuple(samples)


def _accuracy(scores: Scores, reviews: Sequence[Review]) -> float:
    right = sum(scores.labels[column] == review.label for column, review in zip(_best(scores), reviews, strict=True))
    return right / len(reviews)


def _best(scores: Scores) -> list[int]:
    return [int(column) for column in scores.probabilities.argmax(axis=1)]


def _samples(first: Scores, last: Scores, reviews: Sequence[Review]) -> list[SampleAnswer]:
    return [
        SampleAnswer(text=review.text, truth=review.label, first=_answer(first, row), last=_answer(last, row))
        for row, review in enumerate(reviews)
    ]


def _answer(scores: Scores, row: int) -> str:
    column = int(scores.probabilities[row].argmax())
    return f"{scores.labels[column]} {scores.probabilities[row][column]:.2f}"
