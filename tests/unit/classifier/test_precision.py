"""Precision follows what the hardware says."""

import pytest
import torch

from shared.classifier.precision import choose_device, choose_precision, supports_bf16, torch_dtype
from shared.errors import ConfigurationError


@pytest.fixture(params=[True, False])
def has_bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: request.param)
    return bool(request.param)


def test_the_cpu_is_asked(has_bf16: bool) -> None:
    assert supports_bf16("cpu") is has_bf16


def test_auto_takes_bf16_only_where_it_is(has_bf16: bool) -> None:
    assert choose_precision("auto", "cpu") == ("bf16" if has_bf16 else "fp32")


def test_fp32_is_fp32_everywhere(has_bf16: bool) -> None:
    assert choose_precision("fp32", "cpu") == "fp32"


def test_bf16_on_a_machine_without_it_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(ConfigurationError, match="bf16"):
        choose_precision("bf16", "cpu")


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_is_asked_without_emulation(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert supports_bf16("cuda:0") is native
    assert choose_device("auto") == "cuda"


def test_without_a_gpu_the_cpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    assert choose_device("cuda:1") == "cuda:1"
    assert not supports_bf16("cuda")


def test_each_precision_has_its_type() -> None:
    assert (torch_dtype("fp32"), torch_dtype("bf16")) == (torch.float32, torch.bfloat16)
