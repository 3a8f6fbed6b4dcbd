"""A plan counts only if it is the one that was registered."""

import hashlib
import json
from pathlib import Path

import pytest

from services.retrainer.reproduction import verified_plan
from shared.errors import ModelError
from shared.training_settings import TrainingSettings
from tests.models import tiny_classifier
from tests.unit.retrainer.builders import tiny_plan


def test_the_registered_plan_is_read_back(tmp_path: Path) -> None:
    plan = tiny_plan(tiny_classifier(tmp_path / "base"), 10, TrainingSettings())
    assert verified_plan(plan.model_dump_json(indent=2).encode(), plan.sha256()) == plan


def test_an_altered_plan_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tiny_classifier(tmp_path / "base"), 10, TrainingSettings())
    altered = plan.model_copy(update={"seed": plan.seed + 1})
    with pytest.raises(ModelError, match="was altered"):
        verified_plan(altered.model_dump_json().encode(), plan.sha256())


def test_a_plan_of_a_later_version_is_refused_as_such(tmp_path: Path) -> None:
    plan = tiny_plan(tiny_classifier(tmp_path / "base"), 10, TrainingSettings())
    later = plan.model_dump_json()[:-1] + ',"novelty":1}'
    canonical = json.dumps(json.loads(later), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    with pytest.raises(ModelError, match="not of this version of Tidemill"):
        verified_plan(later.encode(), hashlib.sha256(canonical.encode()).hexdigest())
