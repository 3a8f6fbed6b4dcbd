"""What is said of quality without labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.estimates import BUCKETS, LENGTHS, distances, expected_accuracy, profile, shares
from shared.metrics import InputTrait

OF_WORDS = (InputTrait.LENGTH, InputTrait.VOCABULARY)
WORDS = [f"word{number}" for number in range(200)]


def reviews(seed: int, count: int = 1000, words: int = 12, vocabulary: list[str] = WORDS) -> list[str]:
    chance = np.random.default_rng(seed)
    return [" ".join(chance.choice(vocabulary, words)) for _ in range(count)]


def test_calibrated_scores_promise_the_accuracy_that_labels_confirm() -> None:
    chance = np.random.default_rng(3)
    scores = chance.uniform(0.5, 1.0, 20_000)
    right = chance.random(20_000) < scores
    assert expected_accuracy(list(scores)) == pytest.approx(right.mean(), abs=0.01)


def test_without_answers_nothing_is_promised() -> None:
    assert expected_accuracy([]) is None
    assert shares([], ["negative", "positive"]) == {"negative": 0.0, "positive": 0.0}


def test_shares_name_every_label() -> None:
    answers = ["positive", "positive", "negative", "positive"]
    assert shares(answers, ["negative", "positive", "mixed"]) == {"negative": 0.25, "positive": 0.75, "mixed": 0.0}


def test_two_samples_of_one_stream_lie_close_together() -> None:
    found = distances(profile(reviews(1)), profile(reviews(2)))
    assert found[InputTrait.VOCABULARY] < 0.1
    assert found[InputTrait.LENGTH] == 0.0


def test_other_words_and_other_lengths_are_told_apart() -> None:
    reference = profile(reviews(1))
    other_words = distances(reference, profile(reviews(2, vocabulary=[f"term{number}" for number in range(200)])))
    other_lengths = distances(reference, profile(reviews(2, words=100)))
    assert other_words[InputTrait.VOCABULARY] > 0.5
    assert other_words[InputTrait.LENGTH] == 0.0
    assert other_lengths[InputTrait.LENGTH] == 1.0
    assert other_lengths[InputTrait.VOCABULARY] < 0.1


def test_case_does_not_count_as_another_word() -> None:
    assert distances(profile(["A Fine Film"]), profile(["a fine film"])) == dict.fromkeys(OF_WORDS, 0.0)


@given(st.lists(st.text(max_size=60), max_size=20), st.lists(st.text(max_size=60), max_size=20))
def test_a_distance_lies_between_0_and_1_and_has_no_direction(one: list[str], other: list[str]) -> None:
    first, second = profile(one), profile(other)
    assert first.words.shape == (BUCKETS,)
    assert first.lengths.shape == (LENGTHS,)
    assert int(first.lengths.sum()) == len(one)
    there, back = distances(first, second), distances(second, first)
    for trait in OF_WORDS:
        assert 0.0 <= there[trait] <= 1.0 + 1e-9
        assert there[trait] == pytest.approx(back[trait])
    assert distances(first, first) == dict.fromkeys(OF_WORDS, pytest.approx(0.0, abs=1e-7))
