"""What the API takes and gives."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.server.card import Card
from services.server.engine import Prediction, Predictions
from services.server.plan_report import PlanReport
from shared.events import CanaryState, ServerPhase
from shared.labels import Label

Text = Annotated[str, StringConstraints(pattern=r"\S")]  # something other than white space


class Body(BaseModel):
    """A request: nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictRequest(Body):
    """One text, or a list of texts that one model answers as a whole."""

    text: Text | None = Field(None, description="One text.", examples=["A wonderful film."])
    texts: list[Text] | None = Field(None, min_length=1, description="Several texts, instead of `text`.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "PredictRequest":
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        return self

    def all_texts(self) -> list[str]:
        """The texts in order."""
        return [self.text] if self.text is not None else list(self.texts or ())


class ModelName(BaseModel):
    """The model that answered."""

    name: str
    version: str
    plan: str = Field(description="How it was computed; the same text, version and plan give the same answer.")


class PredictedText(BaseModel):
    """What the model says about one text."""

    prediction_id: str = Field(description="Name it in feedback once you know the true label.")
    label: str
    score: float = Field(description="Calibrated probability of the label.")
    scores: dict[str, float] = Field(description="Calibrated probability of every label; they add up to 1.")
    truncated: bool = Field(description="The text was longer than the model reads.")

    @classmethod
    def of(cls, prediction: Prediction) -> "PredictedText":
        """The answer as the API gives it."""
        answer = prediction.answer
        return cls(
            prediction_id=prediction.prediction_id,
            label=answer.label,
            score=answer.score,
            scores=answer.scores,
            truncated=answer.truncated,
        )


class PredictResponse(BaseModel):
    """One result for each text, in order, all by the model named."""

    model: ModelName
    predictions: list[PredictedText]

    @classmethod
    def of(cls, name: str, predictions: Predictions) -> "PredictResponse":
        """The answers as the API gives them."""
        model = ModelName(name=name, version=predictions.card.version, plan=predictions.plan)
        return cls(model=model, predictions=[PredictedText.of(each) for each in predictions.items])


class FeedbackRequest(Body):
    """The true label of a served prediction."""

    prediction_id: str = Field(min_length=1, max_length=200)
    label: Label = Field(description="As in `reviews.labeled`: a class name, one of its aliases or a class number.")


class FeedbackResponse(BaseModel):
    """Kafka has the labelled review."""

    prediction_id: str
    label: str


class LineageInShort(BaseModel):
    """What the model learned from; `tidemill explain VERSION` says all of it."""

    window_ids: tuple[str, ...]
    offset_ranges: tuple[tuple[int, int], ...] = Field(description="Of `reviews.curated`, by window, inclusive.")
    replay_window_ids: tuple[str, ...]
    parent_version: str | None
    base: str
    newest_published_at: datetime
    code_version: str


class ModelResponse(BaseModel):
    """The model that answers."""

    name: str
    version: str
    digest: str
    labels: tuple[str, ...]
    promoted_at: datetime | None
    phase: ServerPhase = Field(description="What this replica does about its model.")
    target: str | None = Field(description="The version taken over, let go, or failed with.")
    reason: str | None = Field(description="Why it could not be.")
    canary: CanaryState | None = Field(description="The challenger beside it, if there is one.")
    plan: str | None = Field(description="How it answers: backend, precision, threads, tokens at once.")
    plans: PlanReport | None = Field(description="The plans that were tried for it here; null: not yet.")
    lineage: LineageInShort | None


class HealthResponse(BaseModel):
    """Whether it lives, or can work, and why not."""

    ok: bool
    reasons: dict[str, str]


class ReadyResponse(HealthResponse):
    """Ready while a model serves, whatever else is gone."""

    phase: ServerPhase
    reason: str | None = Field(description="Why the latest champion could not be taken over.")
    version: str | None
    kafka: str = Field(description="'reachable', or what is wrong.")
    registry: str = Field(description="'reachable', or what is wrong.")


def lineage_in_short(card: Card) -> LineageInShort | None:
    """The few fields that tell where a model came from; None if the registry did not say."""
    lineage = card.lineage()
    if lineage is None:
        return None
    return LineageInShort.model_validate(lineage.model_dump(include=set(LineageInShort.model_fields)))
