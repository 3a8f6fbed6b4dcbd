"""What counts as registered already, and what is told of an adapted base."""

from pathlib import Path
from typing import cast

import pytest

from services.retrainer.adaptation.folder import AdaptationFolder, AdaptationResult
from services.retrainer.adaptation.registration import BaseRegistration, lineage_of, measurements, parameters
from services.retrainer.plan import ParentVersion, ReplayedWindow
from shared.classifier.digest import model_digest
from shared.errors import ConfigurationError, ModelError, TrainingError
from shared.events import AdaptationMetrics, CandidateStatus, UnlabeledWindow
from shared.lineage import BaseLineage
from shared.registry import ModelVersion, Registry
from tests.unit.retrainer.adaptation.builders import adaptation_plan, text_id, unlabeled_window
from tests.unit.retrainer.builders import NOW, SHA, window_id

METRICS = AdaptationMetrics(steps=7, tokens_seen=99, loss_before=2.0, loss_after=1.0, seconds=3)
RESULT = AdaptationResult(
    model_digest=SHA, exam_digest="e" * 64, metrics=METRICS, head_steps=5, validation_rows=9, guesses=20
)


class OneVersion:
    """A registry with the version of one window, whose run was left open."""

    def __init__(self, version: ModelVersion) -> None:
        self._version = version
        self.ended: list[str] = []

    def version_of_window(self, window_id: str) -> ModelVersion:
        return self._version

    def end_run(self, run_id: str) -> None:
        self.ended.append(run_id)


@pytest.fixture
def lineage(tmp_path: Path) -> BaseLineage:
    (tmp_path / "config.json").write_text("{}")
    plan = adaptation_plan(tmp_path, train=10)
    parent = plan.start.model_copy(update={"parents": (ParentVersion(version="3", digest=SHA),)})
    again = ReplayedWindow(window_id=text_id(8), snapshot=plan.windows[0].snapshot, offsets=(8000,))
    return lineage_of(plan.model_copy(update={"start": parent, "replay": (again,)}), RESULT)


@pytest.fixture
def registry(lineage: BaseLineage) -> OneVersion:
    return OneVersion(ModelVersion(version="7", run_id="run", source="", tags=lineage.to_tags(), created_at=NOW))


def registration(registry: OneVersion) -> BaseRegistration:
    return BaseRegistration(cast(Registry, registry))


def with_rows(sha256: str) -> UnlabeledWindow:
    window = unlabeled_window(0)
    return window.model_copy(update={"snapshot": window.snapshot.model_copy(update={"sha256": sha256})})


def test_its_lineage_survives_as_tags(lineage: BaseLineage) -> None:
    assert BaseLineage.from_tags(lineage.to_tags()) == lineage
    assert (lineage.parent_version, lineage.replay_window_ids) == ("3", (text_id(8),))
    assert lineage.probe_window_ids == (window_id(0),)


def test_a_registration_that_was_interrupted_is_finished(registry: OneVersion, tmp_path: Path) -> None:
    """Killed between registering and ending: the run is ended, and its numbers are announced."""
    run = AdaptationFolder(tmp_path / "run")
    run.write(run.result_file, RESULT)
    found = registration(registry).find([with_rows(SHA)], run)
    assert found is not None
    assert (found.version, found.status, found.metrics) == ("7", CandidateStatus.READY, METRICS)
    assert (found.model_digest, found.exam_digest, found.parent_version) == (SHA, "e" * 64, "3")
    assert registry.ended == ["run"]


@pytest.mark.parametrize("left", ["nothing", "the result of another model"])
def test_numbers_that_are_not_this_versions_are_not_announced(registry: OneVersion, tmp_path: Path, left: str) -> None:
    run = AdaptationFolder(tmp_path / "run")
    if left != "nothing":
        run.write(run.result_file, RESULT.model_copy(update={"model_digest": "b" * 64}))
    found = registration(registry).find([with_rows(SHA)], run)
    assert found is not None
    assert found.metrics is None


def test_a_version_that_learned_other_texts_is_refused(registry: OneVersion, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="model of another stream"):
        registration(registry).find([with_rows("b" * 64)], AdaptationFolder(tmp_path / "run"))
    assert registry.ended == []


def test_only_a_finished_run_is_registered(registry: OneVersion, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no finished adaptation"):
        registration(registry).register(AdaptationFolder(tmp_path / "run"), [])


@pytest.mark.parametrize("damaged", ["model", "exam"])
def test_files_that_changed_since_are_refused(registry: OneVersion, tmp_path: Path, damaged: str) -> None:
    run = AdaptationFolder(tmp_path / "run")
    (tmp_path / "config.json").write_text("{}")
    run.write(run.plan_file, adaptation_plan(tmp_path, train=10))
    run.write(run.result_file, RESULT)
    for folder in (run.model, run.parent):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    if damaged == "exam":
        run.write(run.result_file, RESULT.model_copy(update={"model_digest": model_digest(run.model)}))
    with pytest.raises(ModelError, match=f"{damaged}: digest is"):
        registration(registry).register(run, [])


def test_people_see_perplexities_beside_the_losses(tmp_path: Path) -> None:
    numbers = measurements(RESULT)
    assert numbers["perplexity_before"] == pytest.approx(7.389, abs=1e-3)
    assert numbers["perplexity_after"] == pytest.approx(2.718, abs=1e-3)
    assert (numbers["loss_before"], numbers["head_steps"], numbers["guesses"]) == (2.0, 5.0, 20.0)
    unmeasured = RESULT.model_copy(update={"metrics": AdaptationMetrics(steps=1, tokens_seen=1, seconds=1)})
    assert not any("perplexity" in name or "loss" in name for name in measurements(unmeasured))


def test_a_broken_model_has_a_perplexity_too() -> None:
    metrics = METRICS.model_copy(update={"loss_after": 5000.0})
    assert measurements(RESULT.model_copy(update={"metrics": metrics}))["perplexity_after"] > 1e300


def test_parameters_name_what_adaptations_are_compared_by(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = parameters(adaptation_plan(tmp_path, train=10))
    assert (found["new_rows"], found["parent_version"], found["adaptation.mask_share"]) == (10, "none", 0.3)
