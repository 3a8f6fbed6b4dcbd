"""The models that are asked in shadow: loaded when first asked, and let go of when nobody asks them any more.

Imports torch, so it runs in a process of its own.
"""

from collections.abc import Collection, Iterable, Mapping

import structlog

from services.evaluator.exam import Model, Unavailable
from services.evaluator.model_files import ModelFiles
from services.evaluator.shadow import Answers, Questions, watch_folder
from services.evaluator.sketches import sketch
from shared.classifier.answering import AnsweringClassifier
from shared.errors import ModelError, RegistryRefusedError, RetryableError
from shared.registry import Registry
from shared.settings import Settings

log = structlog.get_logger("shadow")


class ShadowModels:
    """Holds the models of the latest batch. Their files go to HOME/evaluator/watch/STREAM/models."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._files = ModelFiles(settings, registry, watch_folder(settings) / "models")
        self._loaded: dict[Model, AnsweringClassifier] = {}

    def answer(self, questions: Questions) -> Answers | Unavailable:
        """Asks each model; what is wrong with one says nothing about the others."""
        self._let_go(questions.asked)
        labels: dict[Model, Mapping[int, int]] = {}
        sketches: dict[Model, Mapping[int, bytes]] = {}
        unusable: dict[Model, str] = {}
        try:
            for model, offsets in questions.asked.items():
                try:
                    labels[model] = self._ask(model, _some(questions.texts, offsets))
                    sketches[model] = self._sketch(model, _some(questions.texts, questions.sketched.get(model, ())))
                except (ModelError, RegistryRefusedError) as error:
                    unusable[model] = str(error)
        except (RetryableError, OSError) as error:
            return Unavailable(str(error))
        return Answers(labels, sketches, unusable)

    def _ask(self, model: Model, texts: Mapping[int, str]) -> dict[int, int]:
        if not texts:
            return {}
        predicted = self._classifier(model).predict(list(texts.values())).predicted
        return {offset: int(label) for offset, label in zip(texts, predicted, strict=True)}

    def _sketch(self, model: Model, texts: Mapping[int, str]) -> dict[int, bytes]:
        if not texts:
            return {}
        return dict(zip(texts, sketch(self._classifier(model).embed(list(texts.values()))), strict=True))

    def _classifier(self, model: Model) -> AnsweringClassifier:
        if model not in self._loaded:
            self._loaded[model] = self._files.load(model)
            log.info("watching", version=model.version)
        return self._loaded[model]

    def _let_go(self, needed: Collection[Model]) -> None:
        self._loaded = {model: loaded for model, loaded in self._loaded.items() if model in needed}
        self._files.keep_only(needed)


def _some(texts: Mapping[int, str], offsets: Iterable[int]) -> dict[int, str]:
    return {offset: texts[offset] for offset in offsets}
