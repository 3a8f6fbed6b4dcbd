from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.sampling import LengthGroupedSampler, length_grouped_batches

LENGTHS = [place * 37 % 200 + 3 for place in range(1000)]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=300), st.integers(1, 32), st.integers(0, 2**32 - 1))
def test_every_row_comes_once_and_only_the_last_batch_is_small(lengths: list[int], batch_rows: int, seed: int) -> None:
    batches = length_grouped_batches(lengths, batch_rows, seed, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == batch_rows for batch in batches[:-1])


def test_batches_hold_rows_of_like_length() -> None:
    batches = length_grouped_batches(LENGTHS, 16, seed=1, epoch=0)
    padded = sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches)
    unsorted = sum(16 * max(LENGTHS[start : start + 16]) for start in range(0, 1000, 16))
    assert padded < 1.15 * sum(LENGTHS) < unsorted


def test_short_and_long_batches_are_mixed() -> None:
    longest = [max(LENGTHS[row] for row in batch) for batch in length_grouped_batches(LENGTHS, 16, seed=1, epoch=0)]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    sampler, again = LengthGroupedSampler(LENGTHS, 16, seed=1), LengthGroupedSampler(LENGTHS, 16, seed=1)
    first = list(sampler)
    sampler.epoch = again.epoch = 1
    assert list(sampler) == list(again) != first
    assert list(LengthGroupedSampler(LENGTHS, 16, seed=2)) != first
