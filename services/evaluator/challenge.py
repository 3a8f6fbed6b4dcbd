"""All that the gate is told about one challenger."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.evaluator.comparison import Flips
from services.evaluator.guards import BrierLosses
from services.evaluator.serving import Serving

# Named here and not imported from `metrics.py`: its library takes seconds to load, and the gate is used without it.
REQUIRED_METRICS = ("accuracy", "macro_f1", "negative_log_likelihood", "brier", "expected_calibration_error")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What happened when the challenger was loaded and asked known questions."""

    loaded: bool
    asked: int = 0
    answered: int = 0
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.loaded and self.answered == self.asked > 0


@dataclass(frozen=True, slots=True)
class Challenge:
    """All that the gate knows about one challenger.

    None stands for what was not measured, which never passes; an empty mapping for what there is none of.

    Attributes:
        flips: Against the champion, or the generic baseline while there is none, on the pool and fresh rows together.
        metrics: The challenger's own on those rows.
        against_baseline: There is no champion. A baseline is nothing that users got used to: being better than it as a
            whole is all that is asked, and slices, eras and flips are not held against the first model.
        anchor: Against the anchor on the same rows; None: there is no anchor.
        baseline: Against the generic baseline on the same rows.
        slices: Slice -> the flips within it.
        recalls: Slice -> the champion's accuracy within it, of the slices that are classes.
        eras: Era -> the flips on its frozen rows.
        losses: Champion's and challenger's Brier losses on the deciding rows.
        size_ratio: Challenger's bytes per byte of the champion.
        latency_ratio: Challenger's seconds per second of the champion, on the same texts.
        serving: What replicas counted of it beside the champion.
        is_anchor: The champion is the anchor itself.
    """

    probe: ProbeResult
    flips: Flips = field(default_factory=Flips)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    against_baseline: bool = False
    anchor: Flips | None = None
    baseline: Flips | None = None
    slices: Mapping[str, Flips] | None = None
    recalls: Mapping[str, float] = field(default_factory=dict)
    eras: Mapping[str, Flips] | None = None
    losses: BrierLosses | None = None
    size_ratio: float | None = None
    latency_ratio: float | None = None
    serving: Serving | None = None
    is_anchor: bool = False
