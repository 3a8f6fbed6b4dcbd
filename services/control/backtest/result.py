"""What a policy did on the recorded stream, and what it comes to."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, NonNegativeInt

# Half a point of accuracy: below it a difference does not matter to anybody.
HARM = 0.005


class Part(BaseModel):
    """What every part of a result shares: frozen, nothing unknown, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EraResult(Part):
    """One window under a policy."""

    window_id: str
    rows: NonNegativeInt
    right: NonNegativeInt
    """Answered rightly by the model then in service, before any model learned one of them."""
    held_out: NonNegativeInt
    verdict: str
    reasons: tuple[str, ...] = ()
    quarantined: bool = False
    training_seconds: float = 0.0
    from_cache: bool = False

    @property
    def accuracy(self) -> float:
        """Test, then train."""
        return self.right / self.rows if self.rows else 0.0


class Promotion(Part):
    """One change of the champion."""

    window_id: str
    model: str
    instead_of: str
    delta: float | None
    """Accuracy added, on held-out rows that did not decide about it; None without any."""
    rows: NonNegativeInt

    @property
    def harmful(self) -> bool:
        """It lost more than half a point."""
        return self.delta is not None and self.delta < -HARM


class Grid(Part):
    """Accuracy of every model that was in service on the hold-out of every window; None where a window has none."""

    models: tuple[str, ...]
    windows: tuple[str, ...]
    accuracy: tuple[tuple[float | None, ...], ...]
    serving: tuple[NonNegativeInt, ...]
    """Per window: which of the models was in service after it."""


class PolicyResult(Part):
    """One policy from the first recorded window to the last."""

    policy: str
    eras: tuple[EraResult, ...]
    promotions: tuple[Promotion, ...]
    grid: Grid


class Summary(Part):
    """A policy's line in the table."""

    policy: str
    windows: NonNegativeInt
    accuracy: float | None
    """Test-then-train, over all rows; the baseline answers until a model is promoted."""
    last_accuracy: float | None
    """The same over the last quarter of the windows."""
    backward_transfer: float | None
    promotions: NonNegativeInt
    harmful: NonNegativeInt
    unjudged: NonNegativeInt
    """Promotions that no held-out row is left to judge by."""
    worst_promotion: float | None
    quarantined: NonNegativeInt
    training_seconds: float
    trained: NonNegativeInt
    from_cache: NonNegativeInt


def summarise(result: PolicyResult) -> Summary:
    """The figures of one policy."""
    taught = [era for era in result.eras if era.training_seconds > 0]
    deltas = [promotion.delta for promotion in result.promotions if promotion.delta is not None]
    return Summary(
        policy=result.policy,
        windows=len(result.eras),
        accuracy=accuracy(result.eras),
        last_accuracy=accuracy(result.eras[-max(1, len(result.eras) // 4) :]),
        backward_transfer=backward_transfer(result.grid),
        promotions=len(result.promotions),
        harmful=sum(promotion.harmful for promotion in result.promotions),
        unjudged=len(result.promotions) - len(deltas),
        worst_promotion=min(deltas, default=None),
        quarantined=sum(era.quarantined for era in result.eras),
        training_seconds=sum(era.training_seconds for era in taught),
        trained=len(taught),
        from_cache=sum(era.from_cache for era in taught),
    )


def accuracy(eras: Sequence[EraResult]) -> float | None:
    """Share of right answers over all rows of these windows; None without rows."""
    rows = sum(era.rows for era in eras)
    return sum(era.right for era in eras) / rows if rows else None


def backward_transfer(grid: Grid) -> float | None:
    """How much better the last model in service is on each earlier window than the one in service right after it.

    Below 0 it has forgotten. The mean over all windows but the last; None if there is none to compare.
    Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory", NeurIPS 2017.
    """
    changes = [
        last - then
        for window, serving in enumerate(grid.serving[:-1])
        if (last := grid.accuracy[grid.serving[-1]][window]) is not None
        and (then := grid.accuracy[serving][window]) is not None
    ]
    return sum(changes) / len(changes) if changes else None
