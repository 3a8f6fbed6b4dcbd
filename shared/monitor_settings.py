"""Settings of the evaluator's monitor: what it reads, what it may ask of others, and how much it keeps."""

from pydantic import Field

from shared.section import Section


class MonitorSettings(Section):
    """Watching what was promoted, on reviews that it has never seen."""

    enabled: bool = Field(True, description="False: nothing is watched, and nothing is rolled back by itself.")
    sample: float = Field(1.0, gt=0, le=1, description="Share of labelled reviews that the models are asked about.")
    batch_rows: int = Field(50, ge=1, description="Reviews that are asked about, and counted as evidence, at once.")
    kept_rows: int = Field(20_000, ge=1000, description="Latest reviews kept on disk; a restart counts these again.")
    recent_rows: int = Field(1000, ge=1, description="Latest reviews or answers behind each figure called recent.")
    floor: float = Field(0.01, ge=0, lt=1, description="Accuracy that a champion may lose against an earlier version.")
    alarm: float = Field(200.0, gt=1, description="Evidence of a larger loss at which it is rolled back.")
    trust_floor: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="A batch that no model gets right more often tells of its labels, and counts for nothing.",
    )
    rollbacks_per_day: int = Field(3, ge=0, description="Automatic rollbacks within 24 hours, at most. 0: none.")
    close_on_drift: bool = Field(True, description="Drift of the champion's errors closes the open window early.")
    drift_delta: float = Field(0.002, gt=0, lt=1, description="ADWIN's chance of calling noise a drift; lower: slower.")
    drift_cooldown_rows: int = Field(2000, ge=0, description="Reviews after a drift on which no other is looked for.")
    served_rows: int = Field(100_000, ge=1, description="Latest served answers that wait for their labels.")
    feedback_seconds: float = Field(7 * 86_400.0, gt=0, description="For how long a label and its answer may part.")
    late_seconds: float = Field(3600.0, gt=0, description="A label that comes longer after its answer is late.")
    idle_seconds: float = Field(60.0, gt=0, description="Without work for so long, the models are let go.")
