"""Which replayed rows are kept of those scored: the hardest ones, and some drawn by chance.

The hardest alone would be the mislabelled ones and the odd; rows drawn by chance keep the rest of the past in view.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax


def row_losses(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Cross-entropy of each row, in nats: logits (n, k), labels (n,)."""
    truth = np.asarray(labels, np.int64)
    log_probabilities = log_softmax(np.asarray(logits, np.float64), axis=1)
    losses: NDArray[np.float64] = -log_probabilities[np.arange(len(truth)), truth]
    return losses


def pick_hard(losses: NDArray[np.float64], count: int, hard_share: float, seed: int) -> list[int]:
    """`count` places (all, if there are fewer), rising: a share of the highest losses, the rest by chance.

    >>> pick_hard(np.array([0.1, 2.0, 0.2, 3.0]), count=2, hard_share=1.0, seed=0)
    [1, 3]
    """
    count = min(count, len(losses))
    hardest = np.argsort(-losses, kind="stable")
    hard = hardest[: round(hard_share * count)]
    rest = np.sort(hardest[len(hard) :])
    drawn = (
        np.random.default_rng(seed).choice(rest, count - len(hard), replace=False) if count > len(hard) else rest[:0]
    )
    return sorted([*hard.tolist(), *drawn.tolist()])
