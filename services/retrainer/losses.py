"""What a training makes small beside cross-entropy."""

import torch
from torch.nn import functional

from shared.training_settings import DistillationSettings


def teaching_loss(
    logits: torch.Tensor, teacher: torch.Tensor, taught: torch.Tensor, settings: DistillationSettings
) -> torch.Tensor:
    """How far the answers on taught rows have moved from the teacher's: weight * T^2 * KL(teacher || student) at T.

    Summed over taught rows and divided by all rows of the batch, so that over an epoch every row weighs the same,
    whatever batch it fell into. T^2 keeps the gradient's size when T changes.
    Args: logits, teacher (n, k); taught (n,).
    Source: Hinton et al., arXiv:1503.02531; Li and Hoiem, "Learning without forgetting", arXiv:1606.09282; Buzzega et
    al., "Dark experience" (DER++), arXiv:2004.07211.
    """
    heat = settings.temperature
    student = functional.log_softmax(logits.float() / heat, dim=-1)
    target = functional.log_softmax(teacher.float() / heat, dim=-1)
    by_row = functional.kl_div(student, target, reduction="none", log_target=True).sum(-1)
    return settings.weight * heat**2 * (by_row * taught).mean()
