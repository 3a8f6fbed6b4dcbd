"""How the result of a reproduction is told."""

from typing import Any

import pytest

from services.control.reproduce import exit_code, variables, verdict
from shared.errors import ExitCode
from shared.settings import KafkaSettings, Settings

REPORT: dict[str, Any] = {
    "version": "3",
    "identical": False,
    "digest_now": "b" * 64,
    "rows": 1200,
    "seconds": 61.2,
    "likeness": None,
    "not_compared_because": "its weights were deleted by retention",
}
LIKENESS = {
    "weights_identical": False,
    "differing_files": ["model/model.safetensors"],
    "rows": 56,
    "largest_difference": 0.0004,
    "answers_changed": 1,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identical": True}, "bit-identical"),
        ({}, "not compared: its weights were deleted by retention"),
        ({"likeness": LIKENESS}, "over 56 texts the probabilities differ by at most 0.0004, 1 answers changed"),
        ({"likeness": LIKENESS | {"weights_identical": True, "differing_files": ["config.json"]}}, "config.json"),
    ],
)
def test_the_verdict_says_how_alike_they_are(changes: dict[str, Any], said: str) -> None:
    assert said in verdict(REPORT | changes)


def test_only_an_identical_model_ends_with_success() -> None:
    assert exit_code(REPORT | {"identical": True}) is ExitCode.STOPPED
    assert exit_code(REPORT) is ExitCode.DIFFERENT


def test_the_child_is_told_the_addresses_that_are_known() -> None:
    told = variables(Settings(kafka=KafkaSettings(bootstrap_servers="here:9092")))
    assert told["TIDEMILL_KAFKA__BOOTSTRAP_SERVERS"] == "here:9092"
    assert "TIDEMILL_REGISTRY__TRACKING_URI" not in told
