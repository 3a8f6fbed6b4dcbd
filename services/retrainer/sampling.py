"""The order of rows in training: batches of like length, in an order drawn anew for every epoch."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


def length_grouped_batches(lengths: Sequence[int], batch_rows: int, seed: int, epoch: int) -> list[list[int]]:
    """Every row once, in batches of like length; only the last batch may be smaller.

    All rows are sorted together: a quarter of a small window at a time would add a third to its tokens as padding.
    Which rows of one length share a batch is drawn, as is the order of the batches.
    """
    chance = np.random.default_rng([seed, epoch])
    order = sorted(chance.permutation(len(lengths)).tolist(), key=lambda row: -lengths[row])
    batches = [order[start : start + batch_rows] for start in range(0, len(order), batch_rows)]
    whole = len(lengths) // batch_rows
    return [batches[place] for place in chance.permutation(whole)] + batches[whole:]


class LengthGroupedSampler(Sampler[int]):
    """Rows in the order of `length_grouped_batches`.

    The order depends on seed and epoch alone, not on torch's generator as in transformers' own sampler: a job that
    resumes in the second epoch must see the rows in the order in which the killed one saw them.
    """

    def __init__(self, lengths: Sequence[int], batch_rows: int, seed: int) -> None:
        self._lengths, self._batch_rows, self._seed = lengths, batch_rows, seed
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        for batch in length_grouped_batches(self._lengths, self._batch_rows, self._seed, self.epoch):
            yield from batch

    def __len__(self) -> int:
        return len(self._lengths)
