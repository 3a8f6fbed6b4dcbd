"""What was found out about the plans of one model: on `/v1/model`, and on the version in MLflow."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from shared.classifier.planning import Tried
from shared.lineage import MAX_TAG_CHARS, PREFIX

DIGITS = 5


class TriedPlan(BaseModel):
    """One plan's figures; null: not measured, since it was not needed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    plan: str
    chosen: bool = False
    speed: float | None = Field(None, description="Texts for the same time, times those of fp32.")
    rows: int | None = Field(None, description="Held-out reviews that its answers were compared on.")
    labels_agree: float | None = Field(None, description="Share of them with the label of fp32.")
    largest_difference: float | None = Field(None, description="Of a score from that of fp32.")
    brier_rise: float | None = Field(None, description="Over fp32; below 0: its probabilities are better.")
    refusal: str | None = Field(None, description="Why it was not chosen.")

    @classmethod
    def of(cls, tried: Tried) -> Self:
        """In figures that people read."""
        agreement = tried.agreement
        figures = {} if agreement is None else {
            "rows": agreement.rows,
            "labels_agree": round(agreement.labels, DIGITS),
            "largest_difference": round(agreement.largest_difference, DIGITS),
            "brier_rise": round(agreement.brier_rise, DIGITS),
        }  # fmt: skip
        speed = None if tried.speed is None else round(tried.speed, 2)
        return cls(plan=tried.plan.id, chosen=tried.chosen, speed=speed, refusal=tried.refusal, **figures)


class PlanReport(BaseModel):
    """All plans that were tried for one model on one replica."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    chosen: str
    only_exact: str | None = Field(None, description="Why no other precision than fp32 was tried.")
    tried: tuple[TriedPlan, ...] = ()

    @classmethod
    def of(cls, tried: Sequence[Tried], only_exact: str | None) -> Self:
        """One of the plans tried is the chosen one."""
        chosen = next(each.plan.id for each in tried if each.chosen)
        return cls(chosen=chosen, only_exact=only_exact, tried=tuple(map(TriedPlan.of, tried)))

    def tag(self, replica_id: str) -> dict[str, str]:
        """For the version in the registry; what does not fit into a tag is left out, the chosen one last."""
        report = self
        while len(text := report.model_dump_json(exclude_none=True)) > MAX_TAG_CHARS and report.tried:
            kept = sorted(report.tried, key=lambda each: not each.chosen)[:-1]
            report = report.model_copy(update={"tried": tuple(kept)})
        return {f"{PREFIX}plan.{replica_id}": text[:MAX_TAG_CHARS]}
