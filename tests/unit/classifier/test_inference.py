"""Batches hold every row once, within the budget, and change no answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.classifier.inference import plan_batches
from shared.classifier.model import Classifier

LENGTHS = st.lists(st.integers(1, 512), max_size=200)
BUDGETS = st.integers(1, 4096)
TEXTS = st.lists(st.text(max_size=300), min_size=1, max_size=12)


@given(LENGTHS, BUDGETS)
def test_every_row_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    assert sorted(row for batch in plan_batches(lengths, budget) for row in batch) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_only_a_single_over_long_row_exceeds_the_budget(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@given(LENGTHS, BUDGETS)
def test_a_batch_ends_only_where_the_next_row_would_exceed_the_budget(lengths: list[int], budget: int) -> None:
    for batch, following in zip(*(plan_batches(lengths, budget)[start:] for start in (0, 1)), strict=False):
        assert (len(batch) + 1) * lengths[batch[0]] > budget
        assert min(lengths[row] for row in batch) >= max(lengths[row] for row in following)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, budget=st.sampled_from([1, 40, 300, 4096]))
def test_the_same_text_gets_the_same_answer_in_any_company(tiny: Classifier, texts: list[str], budget: int) -> None:
    together = tiny.predict(texts, token_budget=budget)
    alone = np.vstack([tiny.predict([text]).logits for text in texts])
    np.testing.assert_allclose(together.logits, alone, atol=1e-5)


def test_answers_come_in_the_order_of_the_texts(tiny: Classifier) -> None:
    texts = ["short", "a much longer text about a film " * 3, "good", "bad " * 20]
    forward, backward = tiny.predict(texts, 64), tiny.predict(texts[::-1], 64)
    np.testing.assert_allclose(forward.logits, backward.logits[::-1], atol=1e-5)
    assert list(forward.tokens) == list(backward.tokens[::-1])


@pytest.mark.parametrize(("words", "truncated"), [(126, False), (127, True)])
def test_a_text_beyond_the_window_is_cut_and_flagged(tiny: Classifier, words: int, truncated: bool) -> None:
    scores = tiny.predict(["good " * words])
    assert scores.truncated.tolist() == [truncated]
    assert scores.tokens.tolist() == [128]


def test_what_lies_beyond_the_window_changes_nothing(tiny: Classifier) -> None:
    scores = tiny.predict(["good " * 126, "good " * 126 + "bad " * 50])
    np.testing.assert_allclose(scores.logits[0], scores.logits[1], atol=1e-6)


def test_token_ids_are_the_tokenizers_own(tiny: Classifier) -> None:
    texts = ["It's good, isn't it?", "", "naïve café 10/10 \u0000 👍", "x" * 500]
    expected = tiny.tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    assert [len(ids) for ids in expected] == tiny.predict(texts).tokens.tolist()


def test_no_texts_give_no_answers(tiny: Classifier) -> None:
    scores = tiny.predict([])
    assert len(scores) == 0
    assert scores.probabilities.shape == (0, 2)
