"""The picture of an adaptation: loss against passes over the text and against tokens, and what it was good for."""

from collections.abc import Sequence
from pathlib import Path

from services.retrainer.adaptation.folder import AdaptationFolder, AdaptationResult
from services.retrainer.adaptation.plan import AdaptationPlan
from services.retrainer.plots import Mark, draw_curve
from services.retrainer.progress import Point

LOSS = "loss (nats per guessed token)"


def draw_adaptation(
    run: AdaptationFolder, plan: AdaptationPlan, points: Sequence[Point], result: AdaptationResult
) -> list[Path]:
    """Draws the training loss with the loss on validation rows before and after; returns the two PNG files."""
    title = f"{plan.window_id}: {plan.new_rows} new texts, {plan.replay_rows} replayed"
    rows, loss = plan.new_rows + plan.replay_rows, [point.loss for point in points]
    axes = {
        "epochs": [point.rows_seen / rows for point in points],
        "tokens": [float(point.tokens_seen) for point in points],
    }
    labels = {"epochs": "passes over the text", "tokens": "tokens seen"}
    return [
        draw_curve(x, loss, (labels[name], LOSS), title, run.plots / f"loss_by_{name}.png", marks(result, x[-1]))
        for name, x in axes.items()
    ]


def marks(result: AdaptationResult, end: float) -> list[Mark]:
    """Where the validation loss stood before and after, with its perplexity; none without validation rows."""
    places = {"before": (0.0, result.metrics.loss_before), "after": (end, result.metrics.loss_after)}
    found = [(when, *places[when], perplexity) for when, perplexity in result.perplexities().items()]
    return [Mark(x, loss, f"{when}: perplexity {perplexity:.1f}") for when, x, loss, perplexity in found if loss]
