"""Linear layers in integers come close, and no row depends on its company."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.classifier import int8
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.int8 import has_int8, int8_linear
from shared.classifier.packed import INTEGERS_ALONE_UP_TO
from shared.classifier.plan import Plan
from shared.classifier.precision import supports_bf16
from shared.errors import ConfigurationError

pytestmark = pytest.mark.skipif(not has_int8(), reason="this torch has no oneDNN")
ROUGH = Plan("torch", "int8", threads=1, token_budget=512)
TEXTS = st.lists(st.integers(0, 60).map(lambda words: "good film " * words), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def rough(tiny_folder: Path) -> AnsweringClassifier:
    return AnsweringClassifier.load(tiny_folder, plan=ROUGH)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("integers", [int8._WHOLE, int8._REDUCED])
def test_a_layer_is_torchs_own_to_the_size_of_its_integers(gelu: bool, integers: int8._Range) -> None:
    torch.manual_seed(0)
    weight, bias, rows = torch.randn(48, 64), torch.randn(48), torch.randn(9, 64)
    if integers is int8._WHOLE and int8._range() is not integers:
        pytest.skip("without VNNI the whole range overflows")
    expected = torch.nn.functional.linear(rows, weight, bias)
    expected = torch.nn.functional.gelu(expected) if gelu else expected
    found = int8._linear(weight, bias, gelu, integers)(rows)
    # Each product is off by half a step of the input or of the weight, and errors of 64 products add up by chance.
    assert (found - expected).abs().max() < 64**0.5 * 8 / integers.steps
    assert (found - expected).abs().max() > 0


def test_the_largest_numbers_do_not_overflow() -> None:
    largest = torch.ones(32, 256)
    torch.testing.assert_close(
        int8_linear(largest, torch.zeros(32))(largest), torch.full((32, 32), 256.0), rtol=1e-3, atol=0
    )


def test_features_that_lean_to_one_side_lose_less() -> None:
    """Behind a GELU nothing is below -0.17: all integers lie between smallest and largest."""
    torch.manual_seed(0)
    weight, rows = torch.randn(48, 256), torch.nn.functional.gelu(torch.randn(64, 256) * 2)
    layer, exact = int8_linear(weight, torch.zeros(48)), rows @ weight.T
    step = rows.amax(1, keepdim=True) / 127
    rounded = (rows / step).round() * step
    assert (layer(rows) - exact).std() < 0.8 * (rounded @ _rounded_weight(weight).T - exact).std()


def _rounded_weight(weight: torch.Tensor) -> torch.Tensor:
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale).round() * scale


def test_rows_of_nothing_give_the_bias() -> None:
    bias = torch.randn(8)
    torch.testing.assert_close(int8_linear(torch.randn(8, 16), bias)(torch.zeros(3, 16)), bias.expand(3, 8))
    torch.testing.assert_close(
        int8_linear(torch.ones(8, 16), bias)(torch.full((3, 16), -2.0)), (bias - 32).expand(3, 8)
    )


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), place=st.integers(0, 39), seed=st.integers(0, 9))
def test_a_row_is_answered_alike_alone_and_in_company(rows: int, place: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer, all_rows = int8_linear(torch.randn(24, 40), torch.randn(24)), torch.randn(rows, 40) * 10
    place %= rows
    torch.testing.assert_close(
        layer(all_rows)[place : place + 1], layer(all_rows[place : place + 1]), atol=1e-5, rtol=0
    )


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS, budget=st.sampled_from([1, 60, 4096]))
def test_a_model_answers_alike_whatever_company_and_order(
    rough: AnsweringClassifier, texts: list[str], budget: int
) -> None:
    """A value on the edge between two integers may fall to either side, by one step."""
    alone = np.vstack([rough.predict([text]).probabilities for text in texts])
    np.testing.assert_allclose(rough.predict(texts, budget).probabilities, alone, atol=2e-3)
    np.testing.assert_allclose(rough.predict(texts[::-1], budget).probabilities[::-1], alone, atol=2e-3)


def test_its_scores_are_close_to_those_of_fp32(rough: AnsweringClassifier, answering: AnsweringClassifier) -> None:
    texts = [f"number {number} of the films that I saw" for number in range(30)]
    difference = np.abs(rough.predict(texts).probabilities - answering.predict(texts).probabilities).max()
    assert 0 < difference < 0.03


def test_it_names_its_plan_and_changes_budget_and_threads_but_not_precision(rough: AnsweringClassifier) -> None:
    other = rough.under(Plan("torch", "int8", threads=2, token_budget=256))
    assert (rough.plan, other.plan) == ("torch-int8-t1-b512", "torch-int8-t2-b256")
    with pytest.raises(ConfigurationError, match="torch-bf16-t1-b512"):
        rough.under(Plan("torch", "bf16", threads=1, token_budget=512))


def test_a_plan_leaves_torchs_threads_as_they_were(rough: AnsweringClassifier, torch_as_before: None) -> None:
    torch.set_num_threads(1)
    met: list[int] = []
    watched = rough.under(Plan("torch", "int8", threads=2, token_budget=512))
    watched._body = _Watching(rough._body, met)  # type: ignore[assignment]
    watched.predict(["good"])
    assert (met, torch.get_num_threads()) == ([2], 1)


def test_a_few_tokens_are_computed_by_one_thread(tiny_folder: Path, torch_as_before: None) -> None:
    two = AnsweringClassifier.load(tiny_folder, plan=Plan("torch", "int8", threads=2, token_budget=512))
    body, met = cast(Any, two._body), []
    head = body._head
    body._head = lambda rows: (met.append(torch.get_num_threads()), head(rows))[1]
    two.predict(["good"])
    two.predict(["good " * (2 * INTEGERS_ALONE_UP_TO)])
    assert met == [1, 2]


class _Watching:
    def __init__(self, body: object, met: list[int]) -> None:
        self._body, self._met = body, met

    def __getattr__(self, name: str) -> object:
        if name == "logits":
            self._met.append(torch.get_num_threads())
        return getattr(self._body, name)


@pytest.mark.skipif(not supports_bf16("cpu"), reason="this CPU has no bf16 instructions")
def test_a_bf16_plan_is_what_loading_in_bf16_gives(tiny_folder: Path) -> None:
    by_plan = AnsweringClassifier.load(tiny_folder, plan=Plan("torch", "bf16", threads=1, token_budget=512))
    by_precision = AnsweringClassifier.load(tiny_folder, precision="bf16")
    np.testing.assert_array_equal(by_plan.predict(["good film"]).logits, by_precision.predict(["good film"]).logits)
