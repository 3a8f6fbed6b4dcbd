"""When a challenger may replace the champion: the gate's terms, and the rows that they look at."""

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from shared.section import Section


class AnswersTermSettings(Section):
    """The challenger loads and answers known questions."""

    kind: Literal["answers"] = "answers"
    guard: bool = True


class MetricsTermSettings(Section):
    """Every metric of the challenger was computed."""

    kind: Literal["metrics_complete"] = "metrics_complete"
    guard: bool = True


class ProvenWorseTermSettings(Section):
    """Rejects a challenger whose harm is proven."""

    kind: Literal["proven_worse"] = "proven_worse"
    guard: bool = True
    odds: float = Field(10.0, gt=1, description="Evidence of harm at which a challenger is rejected.")


class SafeTermSettings(Section):
    """Evidence that at most the margin is lost."""

    kind: Literal["safe"] = "safe"
    guard: bool = True
    margin: float = Field(0.01, ge=0, lt=1, description="Accuracy that may be lost. Against a baseline always 0.")
    odds: float = Field(20.0, gt=1, description="Evidence at which a challenger is safe.")


class AheadTermSettings(Section):
    """More wins than losses."""

    kind: Literal["ahead"] = "ahead"
    guard: bool = True


class AnchorTermSettings(Section):
    """Evidence that at most the margin is lost against the anchor, so that many small losses add up to none."""

    kind: Literal["anchor"] = "anchor"
    guard: bool = True
    margin: float = Field(0.01, ge=0, lt=1, description="Accuracy that may be lost against the anchor.")
    odds: float = Field(20.0, gt=1, description="Evidence at which a challenger is safe.")


class SlicesTermSettings(Section):
    """No slice of the rows is proven worse."""

    kind: Literal["slices"] = "slices"
    guard: bool = True
    margin: float = Field(0.02, ge=0, lt=1, description="Accuracy that a slice may be seen to lose.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Chance of a veto for nothing, over all slices together.")
    required: tuple[str, ...] = Field((), description="Slices, as KIND:VALUE, that must be there with enough rows.")
    level_classes: bool = Field(
        True,
        description="A class may lose while the challenger answers it no worse than the champion its worst class. "
        "False: a class is a slice like any other.",
    )


class ErasTermSettings(Section):
    """No era is proven worse: what was learned is not forgotten."""

    kind: Literal["eras"] = "eras"
    guard: bool = True
    margin: float = Field(0.03, ge=0, lt=1, description="Accuracy that an era may be seen to lose.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Chance of a veto for nothing, over all eras together.")


class NegativeFlipsTermSettings(Section):
    """Not too many rows that the champion gets right and the challenger wrong."""

    kind: Literal["negative_flips"] = "negative_flips"
    guard: bool = True
    budget: float = Field(0.10, ge=0, lt=1, description="Share of all rows that is proven exceeded before a veto.")


class BrierTermSettings(Section):
    """The challenger's probabilities are not proven worse, row by row."""

    kind: Literal["brier"] = "brier"
    guard: bool = True
    margin: float = Field(0.005, ge=0, lt=1, description="Mean Brier loss that may be added.")
    alpha: float = Field(0.05, gt=0, lt=1, description="One-sided level for more than that.")


class BaselineTermSettings(Section):
    """The challenger is not proven worse than the generic baseline."""

    kind: Literal["baseline"] = "baseline"
    guard: bool = True
    odds: float = Field(10.0, gt=1, description="Evidence of harm at which a challenger is rejected.")


class SizeTermSettings(Section):
    """The challenger's files are not much larger than the champion's."""

    kind: Literal["size"] = "size"
    guard: bool = True
    max_ratio: float = Field(1.5, gt=0, description="Challenger's bytes per byte of the champion.")


class LatencyTermSettings(Section):
    """The challenger answers not much slower than the champion. Reported only: times vary between runs."""

    kind: Literal["latency"] = "latency"
    guard: bool = False
    max_ratio: float = Field(1.5, gt=0, description="Challenger's seconds per second of the champion.")


class ServingTermSettings(Section):
    """Beside the champion the challenger failed rarely, and answered about as it does, about as fast.

    Not asked unless it is named.
    """

    kind: Literal["serving"] = "serving"
    guard: bool = True
    max_disagreement: float = Field(0.1, gt=0, lt=1, description="Share of texts that may get another label.")
    max_failures: float = Field(
        0.02, gt=0, lt=1, description="Share of requests and copies that it may fail on, or not end in time."
    )
    judges_latency: bool = Field(
        True, description="False, say, where servers have champions compute in bf16 or int8: such seconds do not count."
    )
    max_latency_ratio: float = Field(
        1.5, gt=0, description="Challenger's seconds per second of the champion, where both compute by one plan."
    )
    min_texts: int = Field(200, ge=1, description="Texts compared, and timed, before it passes.")


VetoTermSettings = (
    SlicesTermSettings
    | ErasTermSettings
    | NegativeFlipsTermSettings
    | BrierTermSettings
    | BaselineTermSettings
    | SizeTermSettings
    | LatencyTermSettings
    | ServingTermSettings
)
TermSettings = Annotated[
    AnswersTermSettings
    | MetricsTermSettings
    | ProvenWorseTermSettings
    | SafeTermSettings
    | AnchorTermSettings
    | AheadTermSettings
    | VetoTermSettings,
    Field(discriminator="kind"),
]


class SourceSlicesSettings(Section):
    """One slice per source."""

    kind: Literal["source"] = "source"
    largest: int = Field(10, ge=1, description="Sources with a slice of their own; the rest is 'other'.")


class LengthSlicesSettings(Section):
    """Slices by the number of words."""

    kind: Literal["length"] = "length"
    edges: tuple[int, ...] = Field((10, 25, 75, 200), min_length=1, description="Words at which a new slice begins.")

    @field_validator("edges")
    @classmethod
    def _rise(cls, edges: tuple[int, ...]) -> tuple[int, ...]:
        if edges[0] < 1 or any(low >= high for low, high in pairwise(edges)):
            raise ValueError("edges must be at least 1 and rise")
        return edges


class LabelSlicesSettings(Section):
    """One slice per class."""

    kind: Literal["label"] = "label"


class LanguageSlicesSettings(Section):
    """One slice per language, as far as it can be told."""

    kind: Literal["language"] = "language"
    min_chars: int = Field(60, ge=1, description="Shorter texts are 'unknown'.")
    min_confidence: float = Field(0.9, ge=0, le=1, description="Less sure is 'unknown'.")


class PatternSliceSettings(Section):
    """The rows whose text matches."""

    kind: Literal["pattern"] = "pattern"
    name: str = Field(pattern=r"^[\w.-]+$", description="Of the slice: pattern:NAME.")
    regex: str = Field(min_length=1, description="Searched for in the text; (?i) first ignores case.")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            re.compile(regex)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return regex


SliceKindSettings = Annotated[
    SourceSlicesSettings | LengthSlicesSettings | LabelSlicesSettings | LanguageSlicesSettings | PatternSliceSettings,
    Field(discriminator="kind"),
]


class SliceSettings(Section):
    """Which parts of the deciding rows are looked at by themselves."""

    kinds: tuple[SliceKindSettings, ...] = Field(
        (SourceSlicesSettings(), LengthSlicesSettings(), LabelSlicesSettings(), LanguageSlicesSettings()),
        description="A row is in one slice of each kind, and in every pattern that it matches.",
    )


class EraSettings(Section):
    """Which rows of the past are kept to see whether it is forgotten."""

    windows: int = Field(5, ge=1, description="Consecutive windows of one era.")
    rows: int = Field(200, ge=1, description="Held-out rows of one era at most.")
    keep: int = Field(10, ge=0, description="Latest complete eras that are looked at.")


class QuarantineSettings(Section):
    """When a whole window is distrusted."""

    odds: float = Field(10.0, gt=1, description="Evidence of harm on rows of other windows.")
    drop: float = Field(0.15, gt=0, lt=1, description="Champion's accuracy on the window below its own elsewhere.")
    alpha: float = Field(0.01, gt=0, lt=1, description="One-sided level for that drop.")


class GateSettings(Section):
    """When a challenger may replace the champion."""

    terms: tuple[TermSettings, ...] = Field(
        (
            AnswersTermSettings(),
            MetricsTermSettings(),
            ProvenWorseTermSettings(),
            SafeTermSettings(),
            AnchorTermSettings(),
            AheadTermSettings(),
            SlicesTermSettings(),
            ErasTermSettings(),
            NegativeFlipsTermSettings(),
            BrierTermSettings(),
            BaselineTermSettings(),
            SizeTermSettings(),
            LatencyTermSettings(),
        ),
        min_length=1,
        description="Every guard must pass. All are recorded.",
    )
    pool_rows: int = Field(2000, ge=1, description="Latest held-out rows that every challenger is scored on.")
    waiting: int = Field(2, ge=0, description="Undecided challengers that wait; one more crowds out the least likely.")
    anchor_odds: float = Field(20.0, gt=1, description="Evidence at which a champion becomes the anchor.")
    anchor_rows: int = Field(10_000, ge=1, description="First held-out rows after its promotion that may prove it.")
    slices: SliceSettings = SliceSettings()
    eras: EraSettings = EraSettings()
    quarantine: QuarantineSettings = QuarantineSettings()
    baseline: str = Field("vader", description="'vader', 'majority', or a hub model or folder.")

    @model_validator(mode="after")
    def _has_guards(self) -> "GateSettings":
        kinds = {term.kind for term in self.terms if term.guard}
        missing = {"answers", "metrics_complete", "proven_worse", "safe", "ahead"} - kinds
        if missing:
            raise ValueError(f"the gate cannot do without the guards {sorted(missing)}")
        return self

    @model_validator(mode="after")
    def _requires_slices_that_exist(self) -> "GateSettings":
        kinds = {kind.kind for kind in self.slices.kinds}
        required = {name for term in self.terms if isinstance(term, SlicesTermSettings) for name in term.required}
        unknown = sorted(name for name in required if name.partition(":")[0] not in kinds)
        if unknown:
            raise ValueError(f"required slices {unknown} are of no kind among {sorted(kinds)}; name them KIND:VALUE")
        return self


class BaseGateSettings(Section):
    """When an adapted base may take the place of the one before it."""

    text_rows: int = Field(2000, ge=1, description="Held-out unlabelled rows whose words both bases guess; the newest.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Level at which fewer nats a guess must be proven.")
    probe_rows: int = Field(
        4000, ge=1, description="Held-out labelled rows that both answer once fine-tuned; the newest."
    )
    margin: float = Field(0.01, ge=0, lt=1, description="Accuracy after fine-tuning that may be lost.")
    odds: float = Field(20.0, gt=1, description="Evidence at which the margin is kept.")
    reject_odds: float = Field(10.0, gt=1, description="Evidence of harm at which the base is rejected.")
