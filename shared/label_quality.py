"""What a look at a window's labels finds before they are learned: the retrainer looks, the evaluator shows it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from scipy.stats import binomtest

NO_SOURCE = "no source"
# Of the window's run in MLflow, and of the folder of the training.
QUALITY_FILE = "quality.json"
# A ledger holds few numbers; of the sources, so many, the most suspicious first.
MOST_SOURCES = 10
_LEVEL = 0.95
_WINDOW, _SOURCE, _SUSPICIOUS, _ROWS, LIMIT = "labels/", "labels/source:", "suspicious", "rows", "labels/limit"


class Suspects(BaseModel):
    """Suspicious rows among some rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    suspicious: NonNegativeInt
    rows: NonNegativeInt

    @property
    def share(self) -> float:
        """Suspicious share; 0 without rows."""
        return self.suspicious / self.rows if self.rows else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Every share that the rows do not rule out: exact (Clopper-Pearson), 95 %; (0, 1) without rows."""
        if not self.rows:
            return 0.0, 1.0
        found = binomtest(self.suspicious, self.rows).proportion_ci(_LEVEL, method="exact")
        return float(found.low), float(found.high)

    def proven_above(self, limit: float, alpha: float) -> bool:
        """Whether the share is above the limit, by an exact one-sided binomial test."""
        if not self.rows:
            return False
        return bool(binomtest(self.suspicious, self.rows, limit, alternative="greater").pvalue <= alpha)


class QualityReport(BaseModel):
    """The window's labels as a model sees them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    window: Suspects
    sources: dict[str, Suspects]


class SuspiciousRow(BaseModel):
    """A review whose label a model is sure of being another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    offset: NonNegativeInt = Field(description="In `reviews.curated`.")
    text: str = Field(description="Long ones are cut.")
    source: str | None
    given: str
    said: str
    confidence: float = Field(ge=0, le=1, description="The model's probability of what it said.")


class LabelQuality(BaseModel):
    """The look at the window's labels before training."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    report: QualityReport
    distrust: str | None = Field(None, description="Why they must not be learned; null: they may.")
    version: str | None = Field(None, description="The model that looked; it had learned none of these rows.")
    limit: float | None = Field(None, description="Suspicious share beyond which they are not learned.")
    labels: dict[str, NonNegativeInt] = Field(default_factory=dict, description="Rows by given label.")
    confusion: dict[str, dict[str, NonNegativeInt]] = Field(
        default_factory=dict, description="Suspicious rows: given label -> what the model said -> rows."
    )
    worst: tuple[SuspiciousRow, ...] = Field((), description="The model was surest of these.")

    def numbers(self) -> dict[str, float]:
        """What a ledger keeps of it; `report_of` reads it back."""
        sources = sorted(self.report.sources.items(), key=lambda item: (-item[1].share, -item[1].rows))
        named = {f"{_SOURCE}{name}/": found for name, found in sources[:MOST_SOURCES]}
        numbers: dict[str, float] = {}
        for prefix, found in ({_WINDOW: self.report.window} | named).items():
            numbers |= {f"{prefix}{_SUSPICIOUS}": found.suspicious, f"{prefix}{_ROWS}": found.rows}
        return numbers if self.limit is None else numbers | {LIMIT: self.limit}


def report_of(numbers: Mapping[str, float]) -> QualityReport | None:
    """What `LabelQuality.numbers` keeps of a report; None if there is nothing of it."""
    window = _suspects(numbers, _WINDOW)
    if window is None:
        return None
    prefixes = (key.removesuffix(_ROWS) for key in numbers if key.startswith(_SOURCE) and key.endswith(f"/{_ROWS}"))
    found = {prefix[len(_SOURCE) : -1]: _suspects(numbers, prefix) for prefix in prefixes}
    return QualityReport(window=window, sources={name: suspects for name, suspects in found.items() if suspects})


def _suspects(numbers: Mapping[str, float], prefix: str) -> Suspects | None:
    suspicious, rows = numbers.get(f"{prefix}{_SUSPICIOUS}"), numbers.get(f"{prefix}{_ROWS}")
    return None if suspicious is None or rows is None else Suspects(suspicious=int(suspicious), rows=int(rows))
