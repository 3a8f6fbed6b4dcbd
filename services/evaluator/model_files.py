"""The files of the models that are asked: downloaded, verified, loaded, and let go of when nobody asks them any more.

Loading imports torch, so it happens in processes of their own.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from services.evaluator.exam import Model
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.digest import verify
from shared.classifier.precision import choose_device
from shared.errors import ModelError
from shared.registry import Registry
from shared.settings import Settings


class ModelFiles:
    """A folder with one folder a model. One process works on it at a time."""

    def __init__(self, settings: Settings, registry: Registry, folder: Path) -> None:
        self._settings, self._registry, self._folder = settings, registry, folder
        self._verified: dict[Model, Path] = {}

    def folder(self, model: Model) -> Path:
        """Where a version's files lie. Their digest is checked the first time.

        Raises:
            ModelError: There are none, or they are not those that the digest stands for.
            RegistryUnavailableError, RegistryRefusedError: They could not be had.
        """
        if model not in self._verified:
            self._verified[model] = self._downloaded(model)
        return self._verified[model]

    def load(self, model: Model) -> AnsweringClassifier:
        """The model, ready to answer.

        Raises:
            ModelError: It cannot be loaded, or has other labels than the stream; or as `folder` does.
        """
        loaded = AnsweringClassifier.load(
            self.folder(model),
            device=choose_device(self._settings.model.device),
            name=f"version {model.version}",
            max_tokens=self._settings.model.max_tokens,
        )
        if loaded.labels != self._settings.stream.labels:
            raise ModelError(f"{loaded.name} has labels {loaded.labels}, the stream {self._settings.stream.labels}")
        return loaded

    def keep_only(self, needed: Collection[Model]) -> None:
        """Deletes all others' files, and hidden folders too: downloads that a killed process left half done."""
        self._verified = {model: folder for model, folder in self._verified.items() if model in needed}
        names = {_name(model) for model in needed}
        for folder in self._folder.glob("*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def _downloaded(self, model: Model) -> Path:
        folder = self._registry.download(model.version, self._folder / _name(model))
        try:
            verify(folder, model.digest)
        except ModelError:
            shutil.rmtree(folder, ignore_errors=True)  # asked for again, it is downloaded again
            raise
        return folder


def _name(model: Model) -> str:
    return f"{model.version}-{model.digest[:16]}"
