"""All texts looked at in one call, as on a GPU: the answers are those of the model on a CPU.

On a CPU the call, which only GPUs have, is replaced by one that looks at each text alone; all else is the same. What it
gives is tried where there is a GPU, on which the same is asked.
"""

from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from shared.classifier import varlen
from shared.classifier.answering import AnsweringClassifier, tokens_in_bulk
from shared.classifier.attention import Attention, FirstTokenAttention, Layout
from shared.classifier.calibration import head_of
from shared.classifier.distilbert import in_memory
from shared.classifier.model import Classifier
from shared.classifier.packed import PackedDistilBert
from shared.classifier.plan import Plan
from shared.classifier.precision import supports_bf16
from shared.classifier.varlen import FirstTokenVarlen, VarlenAttention
from shared.errors import ConfigurationError, DeviceLostError

# Of logits of a size that decides something.
WITHIN, SPREAD = 1e-4, 30.0
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]
LENGTHS = (1, 3, 3, 17, 64)


@pytest.fixture(autouse=True)
def one_text_at_a_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU."""
    if "cuda" not in request.node.name:
        monkeypatch.setattr(varlen, "fused", alone)


def alone(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    asking: Layout,
    asked: Layout,
) -> torch.Tensor:
    """What `fused` says that it does."""
    found = torch.empty_like(queries)
    assert (asking.longest, asked.longest) == (asking.starts.diff().max(), asked.starts.diff().max())
    for text in range(len(asking.starts) - 1):
        own, others = (slice(*layout.starts[text : text + 2].tolist()) for layout in (asking, asked))
        by_head = (each.transpose(0, 1) for each in (queries[own], keys[others], values[others]))
        found[own] = torch.nn.functional.scaled_dot_product_attention(*by_head).transpose(0, 1)
    return found


@pytest.fixture(scope="module")
def opinionated(tiny: Classifier) -> Classifier:
    """With the dimensions of DistilBERT-base, two layers of it, and logits that differ from text to text."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=len(tiny.tokenizer), n_layers=2))
    with torch.no_grad():
        head_of(model).weight.mul_(SPREAD)
    return Classifier(model.eval(), tiny.tokenizer)


def packed(classifier: Classifier, device: str) -> PackedDistilBert:
    weights = in_memory(classifier.model)
    assert weights is not None
    return PackedDistilBert(weights, "fp32", device, varlen=True)


def rows(seed: int, count: int = 40) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(1, 200, length).tolist() for length in random.integers(1, 300, count)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_logits_are_the_models_whatever_lengths_company_and_order(
    opinionated: Classifier, device: str, seed: int
) -> None:
    body, asked = packed(opinionated, device), rows(seed)
    with torch.inference_mode():
        expected = torch.cat([opinionated.model(input_ids=torch.tensor([row])).logits for row in asked])
        together, backwards = body.logits(asked).cpu(), body.logits(asked[::-1]).cpu().flip(0)
        single = torch.cat([body.logits([row]).cpu() for row in asked])
    assert np.ptp(expected[:, 0].numpy()) > 0.5
    torch.testing.assert_close(together, expected, atol=WITHIN, rtol=0)
    for other in (backwards, single):
        torch.testing.assert_close(other.softmax(1), together.softmax(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_an_embedding_is_the_mean_over_the_texts_tokens(opinionated: Classifier, device: str) -> None:
    asked = rows(0)
    with torch.inference_mode():
        found = packed(opinionated, device).means(asked).cpu()
        for row, embedding in zip(asked, found, strict=True):
            mean = opinionated.model.base_model(input_ids=torch.tensor([row])).last_hidden_state[0].mean(0)
            torch.testing.assert_close(embedding, mean, atol=WITHIN, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_every_token_takes_what_it_does_by_length(device: str) -> None:
    torch.manual_seed(0)
    layout, looks = Layout.of(LENGTHS), torch.randn(sum(LENGTHS), 3 * 64)
    found = VarlenAttention(heads=4)(looks.to(device), layout.on(device)).cpu()
    torch.testing.assert_close(found, Attention(heads=4)(looks, layout), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_first_tokens_take_what_they_do_by_length(device: str) -> None:
    torch.manual_seed(0)
    layout, tokens, queries = Layout.of(LENGTHS), torch.randn(sum(LENGTHS), 64), torch.randn(len(LENGTHS), 64)
    key, value, bias = torch.randn(64, 64), torch.randn(64, 64), torch.randn(64)
    expected = FirstTokenAttention.of(key, value, bias, heads=4)(queries, tokens, layout)
    first = FirstTokenVarlen.of(key.to(device), value.to(device), bias.to(device), heads=4)
    found = first(queries.to(device), tokens.to(device), layout.on(device)).cpu()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@GPU
def test_on_cuda_a_model_is_packed_whether_read_or_in_memory(opinionated: Classifier, tmp_path: Path) -> None:
    opinionated.save(tmp_path)
    texts = [f"number {number} of {'the films ' * (number % 30)}" for number in range(200)]
    expected = opinionated.predict(texts)
    load = partial(AnsweringClassifier.load, tmp_path, "cuda")
    for found in (load(), AnsweringClassifier.of(Classifier.load(tmp_path, "cuda"))):
        assert isinstance(found._body, PackedDistilBert)
        assert found.plan.endswith(f"b{tokens_in_bulk('cuda')}")
        for budget in (None, 300):
            np.testing.assert_allclose(found.predict(texts, budget).logits, expected.logits, atol=WITHIN)
    if supports_bf16("cuda"):
        rough = load(plan=Plan("torch", "bf16", threads=1, token_budget=4096)).predict(texts)
        assert np.abs(rough.probabilities - expected.probabilities).max() < 0.05


@GPU
def test_on_cuda_nobody_does_int8(tiny_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="int8 takes a DistilBERT, a CPU"):
        AnsweringClassifier.load(tiny_folder, "cuda", plan=Plan("torch", "int8", threads=1, token_budget=512))


def test_a_lost_gpu_is_told_from_want_of_its_memory(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[DeviceLostError] = []
    answering = AnsweringClassifier.load(tiny_folder, lost=told.append)
    for raised in (accelerator_error(2), torch.OutOfMemoryError("CUDA out of memory"), accelerator_error(719)):
        body = Mock(spec=PackedDistilBert, batches=lambda *args: [[0]], logits=Mock(side_effect=raised))
        monkeypatch.setattr(answering, "_body", body)
        with pytest.raises(DeviceLostError if raised.args == ("CUDA error 719",) else type(raised)):
            answering.predict(["fine"])
    assert len(told) == 1
    assert isinstance(told[0], DeviceLostError)


def accelerator_error(code: int) -> torch.AcceleratorError:
    """As torch raises it: with the code of the runtime."""
    error = torch.AcceleratorError(f"CUDA error {code}")
    error.error_code = code
    return error


def test_where_there_is_no_such_call_models_are_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    varlen.has_fused.cache_clear()
    assert varlen.has_fused("cpu"), "replaced here by what looks at each text alone"
    varlen.has_fused.cache_clear()
    monkeypatch.undo()
    assert not varlen.has_fused("cpu")


def test_the_call_takes_the_arguments_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch knows without a GPU what it takes, and of what shape its answer is."""
    monkeypatch.undo()
    tokens = torch.empty(20, 4, 16, device="meta")
    asking, asked = (Layout.of(lengths).on("meta") for lengths in ([1, 1, 1], [9, 7, 4]))
    assert varlen.fused(tokens[:3], tokens, tokens, asking, asked).shape == (3, 4, 16)
