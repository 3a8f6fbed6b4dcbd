"""What only answers says what the model says, without padding where the model is a DistilBERT."""

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertConfig

from shared.classifier.answering import AnsweringClassifier
from shared.classifier.attention import BY_PRODUCTS_FROM, Attention, FirstTokenAttention, Layout
from shared.classifier.calibration import head_of
from shared.classifier.distilbert import WEIGHTS_FILE, in_memory
from shared.classifier.inference import plan_batches
from shared.classifier.linear import Linear, answering_linear, plain
from shared.classifier.model import Classifier, new_classifier
from shared.classifier.packed import PackedDistilBert, rounded_tokens
from shared.classifier.precision import supports_bf16
from shared.errors import ModelError

# Of logits of a size that decides something: float32 knows seven digits.
WITHIN = 1e-5
SPREAD = 30.0
TEXTS = st.lists(st.integers(0, 140).map(lambda words: "good film " * (words // 2)), min_size=1, max_size=14)
LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=100).map(lambda found: np.array(found, np.int32))


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS | st.lists(st.text(max_size=300), min_size=1, max_size=12), budget=st.sampled_from([1, 60, 4096]))
def test_logits_are_the_models_whatever_lengths_company_and_order(
    tiny: Classifier, answering: AnsweringClassifier, texts: list[str], budget: int
) -> None:
    expected = np.vstack([tiny.predict([text]).logits for text in texts])
    np.testing.assert_allclose(answering.predict(texts, budget).logits, expected, atol=WITHIN)
    backwards = answering.predict(texts[::-1], budget).logits[::-1]
    np.testing.assert_allclose(backwards, answering.predict(texts, budget).logits, atol=1e-5)


@pytest.fixture(scope="module")
def opinionated(bundled_base: Path) -> Classifier:
    """Of real size, with logits that differ by some points from text to text."""
    classifier = new_classifier(bundled_base, ("negative", "positive"), seed=1)
    with torch.no_grad():
        head_of(classifier.model).weight.mul_(SPREAD)
    return classifier


def test_a_model_of_real_size_answers_the_same(opinionated: Classifier) -> None:
    texts = ["A three-hour master class.", "Dull.", "it was fine, " * 60, "bad " * 700, ""]
    mine, its = AnsweringClassifier.of(opinionated).predict(texts), opinionated.predict(texts)
    assert np.ptp(its.logits[:, 0]) > 0.5
    np.testing.assert_allclose(mine.logits, its.logits, atol=10 * WITHIN)
    assert (mine.tokens == its.tokens).all()
    assert (mine.truncated == its.truncated).all()


def test_it_tells_what_the_classifier_tells(tiny: Classifier, answering: AnsweringClassifier) -> None:
    for name in ("name", "labels", "window", "temperature"):
        assert getattr(answering, name) == getattr(tiny, name)


def test_an_embedding_is_the_mean_over_the_texts_tokens(tiny: Classifier, answering: AnsweringClassifier) -> None:
    texts = ["good", "a good long film " * 9, "bad", "bad"]
    found = answering.embed(texts)
    with torch.inference_mode():
        for text, embedding in zip(texts, found, strict=True):
            ids = tiny.tokenizer(text, return_tensors="pt").input_ids
            mean = tiny.model.base_model(input_ids=ids).last_hidden_state[0].mean(0)
            np.testing.assert_allclose(embedding, mean.numpy(), atol=1e-5)


def test_no_texts_give_no_answers(answering: AnsweringClassifier) -> None:
    assert answering.predict([]).probabilities.shape == (0, 2)
    assert answering.embed([]).shape == (0, 32)


@given(LENGTHS, st.integers(1, 2000))
def test_a_pack_holds_as_many_tokens_as_the_budget_lets(lengths: np.ndarray, budget: int) -> None:
    batches = plan_batches(lengths, budget, padded=False)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        tokens = int(lengths[batch].sum())
        assert len(batch) == 1 or tokens <= budget
        assert following is None or tokens + int(lengths[following[0]]) > budget


def test_a_model_of_another_kind_is_computed_as_its_library_does(tiny: Classifier, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    bert = AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=len(tiny.tokenizer), **sizes))
    bert.eval()
    assert in_memory(bert) is None
    bert.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    texts = ["good", "a good long film"]
    expected = Classifier.load(tmp_path).predict(texts).logits
    np.testing.assert_allclose(AnsweringClassifier.load(tmp_path).predict(texts).logits, expected, atol=1e-5)


def test_layers_meet_few_numbers_of_rows_whatever_comes(answering: AnsweringClassifier) -> None:
    """oneDNN keeps code for each of them, in all some megabytes for a total of tokens."""
    met: set[int] = set()
    body: Any = packed_body(answering)
    layer = body._blocks[0].look

    def look(rows: torch.Tensor) -> torch.Tensor:
        met.add(len(rows))
        return layer(rows)

    body._blocks[0] = replace(body._blocks[0], look=look)
    try:
        for words in range(1, 120):
            answering.predict(["good " * words, "bad"])
    finally:
        body._blocks[0] = replace(body._blocks[0], look=layer)
    assert met == set(range(16, 129, 16))


@given(st.integers(1, 1024))
def test_rows_computed_for_nobody_are_few(total: int) -> None:
    assert total <= rounded_tokens(total) < total + max(16, total / 4)


def test_totals_up_to_a_thousand_tokens_are_rounded_to_a_handful() -> None:
    assert len({rounded_tokens(total) for total in range(1, 1025)}) == 24


def packed_body(answering: AnsweringClassifier) -> PackedDistilBert:
    body = answering._body
    assert isinstance(body, PackedDistilBert)
    return body


@pytest.mark.parametrize("layer", [answering_linear, lambda *args, gelu: plain(*args, gelu)])
@pytest.mark.parametrize("gelu", [False, True])
def test_a_linear_layer_is_torchs_own_to_rounding(layer: Callable[..., Linear], gelu: bool) -> None:
    torch.manual_seed(0)
    weight, bias, rows = torch.randn(48, 32), torch.randn(48), torch.randn(7, 32)
    expected = torch.nn.functional.linear(rows, weight, bias)
    expected = torch.nn.functional.gelu(expected) if gelu else expected
    torch.testing.assert_close(layer(weight, bias, gelu=gelu)(rows), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not supports_bf16("cpu"), reason="this CPU has no bf16 instructions")
def test_in_bf16_the_scores_are_close(opinionated: Classifier, tmp_path: Path) -> None:
    opinionated.save(tmp_path)
    texts = [f"number {number} of the films that I saw" for number in range(40)]
    exact, rough = (
        AnsweringClassifier.load(tmp_path, precision=precision).predict(texts) for precision in ("fp32", "bf16")
    )
    assert np.ptp(exact.probabilities[:, 0]) > 0.1
    assert np.abs(exact.probabilities - rough.probabilities).max() < 0.02


def test_of_what_was_loaded_no_file_stays_in_memory(opinionated: Classifier, tmp_path: Path) -> None:
    opinionated.save(tmp_path)
    answering = AnsweringClassifier.load(tmp_path)
    gc.collect()
    assert not [each for each in psutil.Process().memory_maps() if str(tmp_path) in each.path]
    assert len(answering.predict(["fine"])) == 1


@pytest.mark.parametrize("made", ["tiny", "opinionated"])
def test_what_is_read_from_files_is_what_the_library_reads(
    made: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.getfixturevalue(made).save(tmp_path)
    read, its = AnsweringClassifier.load(tmp_path), AnsweringClassifier.of(Classifier.load(tmp_path))
    texts = [
        "A three-hour MASTER class.",
        "naïve café — 東京 \u200b",
        "it's   fine\n\n",
        "bad " * 700,
        "",
        "[SEP] [MASK]",
    ]
    np.testing.assert_array_equal(read.predict(texts).logits, its.predict(texts).logits)
    assert about(read) == about(its)
    assert about(AnsweringClassifier.load(tmp_path, name="x", max_tokens=9))["window"] == 9


def about(classifier: AnsweringClassifier) -> dict[str, Any]:
    return {name: getattr(classifier, name) for name in ("name", "labels", "window", "temperature", "shape", "plan")}


def test_whoever_only_answers_does_without_the_librarys_models(tiny_folder: Path) -> None:
    """They take seconds to import."""
    code = (
        "import sys; from pathlib import Path; from shared.classifier.answering import AnsweringClassifier;"
        f"AnsweringClassifier.load(Path({str(tiny_folder)!r})).predict(['good']);"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_without_a_weight_is_refused(opinionated: Classifier, tmp_path: Path) -> None:
    opinionated.save(tmp_path)
    weights = load_file(tmp_path / WEIGHTS_FILE)
    del weights["pre_classifier.bias"]
    save_file(weights, tmp_path / WEIGHTS_FILE, {"format": "pt"})
    with pytest.raises(ModelError, match=r"weights are missing \(pre_classifier.bias"):
        AnsweringClassifier.load(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_refused(tiny_folder: Path, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / file).write_bytes((folder / file).read_bytes()[:100])
    with pytest.raises(ModelError, match=str(folder)):
        AnsweringClassifier.load(folder)


def test_long_texts_in_bf16_look_at_what_those_in_fp32_look_at() -> None:
    """Above some length, products take the place of torch's own kernel."""
    torch.manual_seed(0)
    layout = Layout.of([7, 7, *[BY_PRODUCTS_FROM + 5] * 3])
    rows = int(layout.starts[-1])
    looks = torch.randn(rows + 2, 96)
    exact = Attention(heads=4)(looks, layout)
    for rough in (
        Attention(heads=4, rough=True)(looks, layout),
        Attention(heads=4)(looks.bfloat16(), layout).float(),
    ):
        torch.testing.assert_close(rough, exact, atol=0.02, rtol=0.02)
    assert not exact[rows:].any()


def change(path: Path, **fields: object) -> None:
    """Of a JSON object; None takes a field away."""
    said = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("tokenizer_config.json", {"do_lower_case": False}),
        ("config.json", {"n_heads": None, "num_attention_heads": 12}),
        ("config.json", {"sinusoidal_pos_embds": None}),
    ],
)
def test_files_that_leave_something_to_the_library_mean_what_it_says(
    opinionated: Classifier, tmp_path: Path, file: str, fields: dict[str, object]
) -> None:
    opinionated.save(tmp_path)
    change(tmp_path / file, **fields)
    texts = ["A Good Film", "it was fine, " * 60]
    expected = Classifier.load(tmp_path).predict(texts).logits
    np.testing.assert_allclose(AnsweringClassifier.load(tmp_path).predict(texts).logits, expected, atol=10 * WITHIN)


def test_weights_of_other_sizes_than_the_config_says_are_refused(opinionated: Classifier, tmp_path: Path) -> None:
    opinionated.save(tmp_path)
    change(tmp_path / "config.json", id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
    with pytest.raises(ModelError):
        AnsweringClassifier.load(tmp_path)


def test_weights_kept_in_bf16_are_computed_in_fp32(opinionated: Classifier, tmp_path: Path) -> None:
    opinionated.save(tmp_path)
    weights = load_file(tmp_path / WEIGHTS_FILE)
    save_file({name: each.bfloat16() for name, each in weights.items()}, tmp_path / WEIGHTS_FILE, {"format": "pt"})
    texts = ["A good film", "dull"]
    expected = Classifier.load(tmp_path).predict(texts).logits
    np.testing.assert_allclose(AnsweringClassifier.load(tmp_path).predict(texts).logits, expected, atol=10 * WITHIN)


@pytest.mark.parametrize("element", [torch.float32, torch.bfloat16])
def test_a_first_token_takes_what_it_would_by_keys_and_values_of_its_own(element: torch.dtype) -> None:
    torch.manual_seed(0)
    layout, width, heads = Layout.of([3, 3, 9]), 32, 4
    tokens, key, value = (torch.randn(rows, width) for rows in (15 + 2, width, width))
    bias, queries = torch.randn(width), torch.randn(4, width) * 3
    attention = FirstTokenAttention.of(key.to(element), value.to(element), bias.to(element), heads)
    found = attention(queries.to(element), tokens.to(element), layout)
    assert found.dtype == element
    row = text = 0
    for group in layout.groups:
        for _ in range(group.texts):
            own = tokens[row : row + group.length]
            looked = [
                each.view(-1, heads, width // heads).transpose(0, 1)
                for each in (queries[text : text + 1], own @ key.T + 5.0, own @ value.T + bias)
            ]
            expected = torch.nn.functional.scaled_dot_product_attention(*looked).transpose(0, 1).reshape(width)
            torch.testing.assert_close(
                found[text].float(), expected, atol=1e-4 if element == torch.float32 else 0.15, rtol=0.02
            )
            row, text = row + group.length, text + 1
