"""Trains a masked-language model: a fresh head alone, or head and body; resumes from the last checkpoint."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import TrainerCallback

from services.retrainer.adaptation.folder import Learned, TextRow
from services.retrainer.adaptation.masking import NOT_GUESSED, MaskedCollator, MaskedRows
from services.retrainer.checkpoints import latest_complete
from services.retrainer.encoding import token_ids
from services.retrainer.trainer import Course, PlannedTrainer, assemble
from services.retrainer.training import run_from
from shared.classifier.masked import MaskedModel, guessing_only_at
from shared.errors import TrainingError

# Added to the count of every token of the vocabulary, of which the texts hold a small part only.
UNSEEN_TOKEN_COUNT = 0.1


class MaskedTrainer(PlannedTrainer):
    """Makes small what the guesses cost, every guess of a batch weighing the same."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        labels = inputs.pop("labels")
        places = labels != NOT_GUESSED
        with guessing_only_at(self.accelerator.unwrap_model(model), places):
            outputs = model(**inputs)
        nats = functional.cross_entropy(outputs.logits.float(), labels[places], reduction="sum")
        loss = nats / max(1, len(outputs.logits))  # a batch of texts without words has no guess
        return (loss, outputs) if return_outputs else loss


def learn(
    course: Course,
    model: MaskedModel,
    rows: Sequence[TextRow],
    mask_share: float,
    callbacks: Sequence[TrainerCallback] = (),
) -> Learned:
    """Trains those weights that are not frozen, from the last complete checkpoint if there is one.

    Raises:
        TrainingError: It ended in weights that are no numbers.
    """
    masked = MaskedRows(rows, model, max_tokens=course.training.max_tokens, mask_share=mask_share, seed=course.seed)
    trainer = assemble(course, MaskedTrainer, model.model, MaskedCollator(model), masked, callbacks, [masked])
    model.model = run_from(latest_complete(course.checkpoints), trainer).to("cpu").eval()
    refuse_diverged(model.model)
    return Learned(steps=trainer.state.global_step, tokens_seen=int(trainer.state.num_input_tokens_seen))


def refuse_diverged(model: nn.Module) -> None:
    """Raises TrainingError if a weight is no number. The Trainer's curve would not show it: it passes over NaN."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise TrainingError(f"the weights {name} are no numbers after training; lower adaptation.learning_rate")


def begin_head(model: MaskedModel, rows: Sequence[TextRow], max_tokens: int) -> None:
    """Tells a fresh head how often each token comes in the texts: what can be counted need not be learned."""
    output: Any = model.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if getattr(output, "bias", None) is None:
        return
    ids = token_ids([row.text for row in rows], model, max_tokens)
    counts = np.bincount(np.concatenate(ids), minlength=len(output.bias)).astype(np.float64)
    counts[sorted(model.special_ids)] = 0
    counts += UNSEEN_TOKEN_COUNT
    with torch.no_grad():
        output.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
