"""One model under several plans, each precision laid out once, all let go of together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.server.slots import ServedModel
from shared.classifier.plan import Plan, PlanPrecision
from shared.classifier.planning import Agreement, Turn, texts_up_to
from shared.classifier.predictor import Scores
from shared.classifier.probe import prove
from shared.errors import ModelError

Load = Callable[[Path, Plan], ServedModel]
"""A model's files -> the model, laid out for a plan."""


@dataclass(frozen=True, slots=True)
class Exam:
    """Texts with their true labels, (n,), and a share of the machine to answer them in."""

    texts: list[str]
    labels: NDArray[np.int64]
    characters: int
    turn: Turn

    def answers(self, model: ServedModel) -> Scores:
        """Some texts at each turn."""
        found: list[Scores] = []
        for texts in texts_up_to(self.texts, self.characters):
            self.turn(lambda asked=texts: found.append(model.predict(asked)))  # type: ignore[misc]
        return Scores.concatenated(found)


class Workshop:
    """Makes the models that are tried beside the one that serves, which is one of them."""

    def __init__(self, load: Load, folder: Path, serving: ServedModel, exam: Exam) -> None:
        self._load, self._folder, self._exam, self._serving = load, folder, exam, serving
        self._made: dict[PlanPrecision, ServedModel | ModelError] = {Plan.parse(serving.plan).precision: serving}
        self._reference: Scores | None = None

    def model(self, plan: Plan) -> ServedModel:
        """Under this plan.

        Raises:
            ModelError: It cannot be made so here, whatever the reason.
        """
        if plan.precision not in self._made:
            self._exam.turn(lambda: self._make(plan))
        made = self._made[plan.precision]
        if isinstance(made, ModelError):
            raise made
        return made.under(plan)

    def judge(self, plan: Plan) -> Agreement:
        """Its answers beside those of the model that serves, which is the reference; both in slices.

        Raises:
            ModelError: It fails when asked.
        """
        model = self.model(plan)
        self._exam.turn(lambda: prove(model, self._serving.labels))
        if self._reference is None:
            self._reference = self._exam.answers(self._serving)
        return Agreement.of(self._reference, self._exam.answers(model), self._exam.labels)

    def _make(self, plan: Plan) -> None:
        try:
            self._made[plan.precision] = self._load(self._folder, plan)
        except Exception as error:
            # A machine without the instructions may refuse inside torch, in whatever words.
            self._made[plan.precision] = ModelError(f"{type(error).__name__}: {error}".splitlines()[0])
