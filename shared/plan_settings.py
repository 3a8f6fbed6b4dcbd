"""Settings of how the server computes: which plans are tried, and what one must show before it answers."""

from pydantic import Field, field_validator

from shared.classifier.plan import Plan
from shared.errors import ConfigurationError
from shared.section import Section

AUTO, OFF = "auto", "off"


class PlanSettings(Section):
    """The plan by which a model answers. A new model answers in fp32 at once; others are tried while it does."""

    use: str = Field(
        AUTO,
        description="'auto': the fastest whose answers agree with fp32. 'off': fp32. Or one plan, e.g. "
        "torch-bf16-t2-b1024, which must agree too.",
    )
    timing_seconds: float = Field(15.0, gt=0, description="Computing spent on timing all plans, at most.")
    share: float = Field(0.25, gt=0, le=1, description="Of the time, that trying plans may compute.")
    patience_seconds: float = Field(2.0, ge=0, description="One step waits so long for a moment without requests.")
    holdout_rows: int = Field(400, ge=1, description="Newest held-out reviews that answers are compared on, at most.")
    min_holdout_rows: int = Field(200, ge=1, description="With fewer, only fp32 serves.")
    min_label_agreement: float = Field(0.995, ge=0, le=1, description="Share of rows with the label of fp32.")
    max_score_difference: float = Field(0.1, ge=0, le=1, description="The most that one score may differ from fp32's.")
    max_brier_rise: float = Field(0.002, ge=0, le=1, description="Of the Brier loss, 0 to 1, over that of fp32.")
    tie_share: float = Field(0.05, ge=0, lt=1, description="Speeds that differ by less are equal: the more exact wins.")
    hopeless_ratio: float = Field(4.0, gt=1, description="Slower than fp32 by this on one text: tried no further.")
    remember_seconds: float = Field(86_400.0, ge=0, description="For how long speeds of models of one shape hold.")

    @field_validator("use")
    @classmethod
    def _is_a_plan(cls, use: str) -> str:
        if use not in (AUTO, OFF):
            try:
                Plan.parse(use)
            except ConfigurationError as error:
                raise ValueError(f"'auto', 'off' or a plan: {error}") from error
        return use

    @property
    def fixed(self) -> Plan | None:
        """The one plan that is asked for; None: it is found, or it is that of fp32."""
        return None if self.use in (AUTO, OFF) else Plan.parse(self.use)
