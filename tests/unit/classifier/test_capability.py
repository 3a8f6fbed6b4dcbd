"""A plan that this machine cannot compute is refused before anything is loaded."""

import os

import pytest

from shared.classifier import capability
from shared.classifier.capability import check_plan, token_budget, usual_plan
from shared.classifier.plan import Plan
from shared.errors import ConfigurationError
from shared.settings import ModelSettings


def test_a_machine_can_compute_its_usual_plan() -> None:
    check_plan(usual_plan(1024), "cpu")


def test_more_threads_than_cpus_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="threads on"):
        check_plan(Plan("torch", "fp32", (os.cpu_count() or 1) + 1, 1024), "cpu")


@pytest.mark.parametrize(("precision", "ability"), [("bf16", "supports_bf16"), ("int8", "has_int8")])
def test_a_precision_that_would_be_emulated_is_refused(
    precision: str, ability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capability, ability, lambda *device: False)
    with pytest.raises(ConfigurationError, match=f"torch-{precision}-t1-b64"):
        check_plan(Plan.parse(f"torch-{precision}-t1-b64"), "cpu")


@pytest.mark.parametrize(("device", "tokens"), [("cpu", 7_000), ("cuda:1", 9_000)])
def test_a_batch_is_as_large_as_where_it_is_computed_takes(device: str, tokens: int) -> None:
    settings = ModelSettings(device=device, token_budget=7_000, gpu_token_budget=9_000)
    assert token_budget(settings) == tokens


def test_no_gpu_computes_integers() -> None:
    with pytest.raises(ConfigurationError, match="int8 takes a CPU"):
        check_plan(Plan.parse("torch-int8-t1-b64"), "cuda")
