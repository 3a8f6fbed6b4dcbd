"""What can be said of quality without any label: expected accuracy, what is answered, and whether the texts changed."""

import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from shared.metrics import InputTrait

# Words share buckets: their distribution is compared, not their list. More would need more texts to be stable.
BUCKETS = 512
# Powers of two of words: 0, 1, 2-3, 4-7 and so on; the last takes all beyond.
LENGTHS = 14
_WORD = re.compile(r"\w+")

Histogram = NDArray[np.int64]


def expected_accuracy(confidences: Sequence[float]) -> float | None:
    """Mean probability of the answers given, which is their accuracy if the scores are calibrated; None without any.

    Right as long as only the mix of texts changes. What a text's label is must not change, or only labels can tell.
    Source: confidence-based performance estimation (CBPE); Garg et al., ICLR 2022, "average confidence".
    """
    return math.fsum(confidences) / len(confidences) if confidences else None


def shares(answers: Sequence[str], labels: Iterable[str]) -> dict[str, float]:
    """Share of each label among the answers; 0 for all without any."""
    return {label: answers.count(label) / max(1, len(answers)) for label in labels}


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What some texts are like: counts of words by bucket, (512,), and of texts by length, (14,)."""

    words: Histogram
    lengths: Histogram


def profile(texts: Iterable[str]) -> Profile:
    """Counts words, in any case, and lengths in words."""
    words, lengths = np.zeros(BUCKETS, np.int64), np.zeros(LENGTHS, np.int64)
    for text in texts:
        found = _WORD.findall(text.casefold())
        lengths[min(len(found).bit_length(), LENGTHS - 1)] += 1
        for word in found:
            # Not hash(): that differs from process to process.
            words[zlib.crc32(word.encode()) % BUCKETS] += 1
    return Profile(words, lengths)


def distances(reference: Profile, latest: Profile) -> dict[InputTrait, float]:
    """Jensen-Shannon distance by trait: 0 for the same distribution, 1 for nothing in common.

    Two samples of one stream are not at 0: 1,000 short reviews on each side lie about 0.1 apart in vocabulary.
    """
    return {
        InputTrait.LENGTH: _distance(reference.lengths, latest.lengths),
        InputTrait.VOCABULARY: _distance(reference.words, latest.words),
    }


def _distance(one: Histogram, other: Histogram) -> float:
    if not one.any() or not other.any():
        return 0.0 if one.any() == other.any() else 1.0
    # Rounding can leave a little less than nothing under the root.
    found = float(jensenshannon(one, other, base=2))
    return 0.0 if math.isnan(found) else found
