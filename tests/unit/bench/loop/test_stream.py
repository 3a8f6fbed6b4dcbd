"""A stream keeps its domains in segments, its truth apart and its true labels known."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.loop.stream import SPLIT, Stream, StreamSettings, make_stream
from services.ingestor.split import side_of
from shared.errors import ConfigurationError
from shared.text import canonical
from tests.unit.bench.loop.builders import SETTINGS, TRUTH, reviews, two_domains

DOMAINS = {"films": reviews("films", 400), "news": reviews("news", 100), "tweets": reviews("tweets", 10)}


def texts(stream: Stream) -> list[str]:
    return [row.text for era in stream.eras for row in era.rows]


@given(seed=st.integers(0, 1_000))
def test_no_row_of_the_truth_is_in_a_window_and_none_is_in_two(seed: int) -> None:
    stream = make_stream(DOMAINS, SETTINGS, seed)
    found, aside = texts(stream), [text for rows in stream.truth.values() for text, _ in rows]
    assert len({*found, *aside}) == len(found) + len(aside)


def test_windows_are_of_one_size_and_one_domain() -> None:
    stream = two_domains()
    assert [len(era.rows) for era in stream.eras] == [SETTINGS.window_rows] * 6
    assert [{row.source for row in era.rows} for era in stream.eras] == [{domain} for domain in stream.domains]
    assert [len(list(group)) for _, group in groupby(stream.domains)] == [3, 3]
    assert {name: len(rows) for name, rows in stream.truth.items()} == {"films": TRUTH, "news": TRUTH}


def test_the_side_of_a_row_is_that_of_its_text() -> None:
    assert all(row.side is side_of(canonical(row.text), SPLIT) for era in two_domains().eras for row in era.rows)


def test_a_flipped_window_has_every_label_wrong_and_its_true_labels_are_known() -> None:
    stream = two_domains()
    assert len(stream.flipped) == 2
    assert not stream.flipped & {0, 5}  # neither the first nor the last
    for place, era in enumerate(stream.eras):
        published = np.array([row.label for row in era.rows])
        assert (published != stream.true_labels(place)).all() == (place in stream.flipped)
        assert stream.true_labels(place).tolist() == [int(row.text.endswith("good")) for row in era.rows]


@given(seed=st.integers(0, 1_000))
def test_every_domain_that_fills_a_window_comes_before_any_comes_twice(seed: int) -> None:
    stream = make_stream(DOMAINS, SETTINGS, seed)
    assert len(stream.eras) == SETTINGS.most_windows
    assert set(stream.domains) == set(stream.truth) == {"films", "news"}


def test_a_seed_is_an_order_and_a_sample() -> None:
    first, again, other = (make_stream(DOMAINS, SETTINGS, seed) for seed in (1, 1, 2))
    assert texts(first) == texts(again)
    assert set(texts(first)) != set(texts(other))


def test_the_domains_met_grow_as_they_come() -> None:
    stream = two_domains()
    first, second = stream.domains[0], stream.domains[-1]
    assert (stream.met(0), stream.met(2), stream.met(3)) == ([first], [first], [first, second])


def test_domains_too_small_for_any_window_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no domain fills a window of 400 reviews"):
        make_stream({"tweets": reviews("tweets", 100)}, StreamSettings(), seed=1)
