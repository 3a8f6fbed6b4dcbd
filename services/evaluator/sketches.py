"""Texts as a model sees them, in few numbers: enough to tell whether what they are about has shifted.

An embedding has some hundred numbers, and thousands of them are kept. A projection on random directions keeps the
distances between them nearly, and fits into 64 bytes. Source: Johnson and Lindenstrauss, 1984.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIRECTIONS = 32
# The directions are drawn anew by every process; another seed would make sketches that are kept mean something else.
_SEED = 20
_TYPE = np.dtype("<f2")


def sketch(embeddings: NDArray[np.float32]) -> list[bytes]:
    """Each embedding of (n, width), as bytes to keep."""
    width = embeddings.shape[1]
    directions = np.random.default_rng(_SEED).normal(size=(width, DIRECTIONS)) / np.sqrt(DIRECTIONS)
    return [row.tobytes() for row in (embeddings @ directions).astype(_TYPE)]


def mean_shift(reference: Sequence[bytes], latest: Sequence[bytes]) -> float:
    """Correlation ratio of side and sketch: 0 if both sides have the same mean, 1 if only the side makes a difference.

    The root of the variance between both sides as a share of all variance. Two samples of one stream are not at 0:
    n texts in all lie about 1/sqrt(n) apart.
    Args: reference, latest: of one model; neither is empty.
    Source: Fisher's correlation ratio (eta), as in a one-way analysis of variance.
    """
    sides = [_numbers(side) for side in (reference, latest)]
    everything = np.concatenate(sides)
    total = float(((everything - everything.mean(0)) ** 2).sum())
    between = sum(len(side) * float(((side.mean(0) - everything.mean(0)) ** 2).sum()) for side in sides)
    return float(np.sqrt(min(1.0, between / total))) if total > 0 else 0.0


def _numbers(sketches: Sequence[bytes]) -> NDArray[np.float64]:
    """(n, DIRECTIONS)."""
    return np.frombuffer(b"".join(sketches), _TYPE).reshape(-1, DIRECTIONS).astype(np.float64)
