"""A challenger beside the champion: when without an order, when it is too bad to go on, and what is compared."""

from pydantic import Field

from shared.section import Section


class CanarySettings(Section):
    """A challenger that answers beside the champion. An order by `tidemill canary` outweighs both shares."""

    share: float = Field(0.0, ge=0, le=1, description="Of the callers, whom the newest waiting challenger answers.")
    shadow_share: float = Field(
        0.0, ge=0, le=1, description="Of the texts, which it is silently asked too. Used while `share` is 0."
    )
    compare_share: float = Field(
        0.1, ge=0, le=1, description="Of the texts that a canary answered: asked of both models once more, to compare."
    )
    max_compare_seconds: float = Field(
        1.0, gt=0, description="Answers wait for a text being compared: none that the challenger will take longer for."
    )
    retry_seconds: float = Field(
        60.0, gt=0, description="Without a comparison; then one text is, though the challenger is thought too slow."
    )
    waiting_copies: int = Field(256, ge=1, description="Texts that wait to be compared; beyond, they are dropped.")
    patience_share: float = Field(
        0.5, gt=0, lt=1, description="Of a request's time that a canary has; then the champion answers in its place."
    )
    max_failure_share: float = Field(
        0.05, ge=0, lt=1, description="Of what it is asked; a challenger that fails more is switched off here."
    )
    judged_after: int = Field(20, ge=1, description="Requests and copies before that is judged.")
    report_seconds: float = Field(30.0, gt=0, description="Between reports to `canaries.counts`.")
