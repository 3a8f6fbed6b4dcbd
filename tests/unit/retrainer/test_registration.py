"""What counts as registered already, and how an interrupted registration is finished."""

from pathlib import Path
from typing import cast

import pytest

from services.retrainer.plan import ParentVersion, Plan, RebuiltVersion, ReplayedWindow
from services.retrainer.registration import Registration, lineage_of, parameters
from services.retrainer.runs import KeptRows, RunFolder, TrainingResult
from shared.errors import ConfigurationError
from shared.events import ClosedWindow, TrainingMetrics
from shared.label_quality import LabelQuality, QualityReport, Suspects
from shared.lineage import Lineage
from shared.registry import ModelVersion, Registry
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import NOW, SHA, closed_window, tiny_plan, window_id

METRICS = TrainingMetrics(
    steps=1, rows_seen=1, tokens_seen=1, final_loss=0.5, seconds=1, rows_per_second=1, temperature=1
)
RESULT = TrainingResult(model_digest=SHA, metrics=METRICS, calibration_rows=0, validation_rows=0, resumed_from_step=0)


class Runs:
    """A registry that notes what is kept with the runs of windows."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.metrics: dict[str, float] = {}
        self.files: list[str] = []
        self.ended: list[str] = []

    def run_of_window(self, window_id: str, name: str) -> str:
        return self.runs.setdefault(window_id, name)

    def log_metrics(self, run_id: str, metrics: dict[str, float]) -> None:
        self.metrics |= metrics

    def log_file(self, run_id: str, path: Path) -> None:
        assert path.exists()
        self.files.append(path.name)

    def log_text(self, run_id: str, text: str, name: str) -> None:
        self.files.append(name)

    def end_run(self, run_id: str) -> None:
        self.ended.append(run_id)

    def run_url(self, run_id: str) -> str:
        return run_id


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
def registry(tmp_path: Path) -> OneVersion:
    (tmp_path / "config.json").write_text("{}")
    tags = lineage_of(tiny_plan(tmp_path, 10, TrainingSettings()), RESULT).to_tags()
    return OneVersion(ModelVersion(version="7", run_id="run", source="", tags=tags, created_at=NOW))


def registration(registry: OneVersion | Runs) -> Registration:
    return Registration(cast(Registry, registry))


def with_rows(sha256: str) -> ClosedWindow:
    window = closed_window(0)
    return window.model_copy(update={"snapshot": window.snapshot.model_copy(update={"sha256": sha256})})


def test_a_registration_that_was_interrupted_is_finished(registry: OneVersion, tmp_path: Path) -> None:
    """Killed between registering and ending: the run is ended, and its numbers are announced."""
    run = RunFolder(tmp_path / "run")
    run.write(run.result_file, RESULT)
    found = registration(registry).find([with_rows(SHA)], run)
    assert found is not None
    assert (found.version, found.metrics, registry.ended) == ("7", METRICS, ["run"])


def test_without_its_folder_a_version_is_found_without_numbers(registry: OneVersion, tmp_path: Path) -> None:
    found = registration(registry).find([with_rows(SHA)], RunFolder(tmp_path / "gone"))
    assert found is not None
    assert (found.version, found.metrics) == ("7", None)


def test_the_numbers_of_another_model_are_not_announced(registry: OneVersion, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write(run.result_file, RESULT.model_copy(update={"model_digest": "b" * 64}))
    found = registration(registry).find([with_rows(SHA)], run)
    assert found is not None
    assert found.metrics is None


def test_a_version_that_learned_other_rows_is_refused(registry: OneVersion, tmp_path: Path) -> None:
    """As with a new Kafka beside an old registry: the window's name is there, and means another window."""
    with pytest.raises(ConfigurationError, match="model of another stream"):
        registration(registry).find([with_rows("b" * 64)], RunFolder(tmp_path / "run"))
    assert registry.ended == []


def planned(tmp_path: Path) -> Plan:
    (tmp_path / "config.json").write_text("{}")
    plan = tiny_plan(tmp_path, 10, TrainingSettings())
    snapshot = plan.windows[0].snapshot
    replay = tuple(
        ReplayedWindow(window_id=window_id(place), snapshot=snapshot, offsets=(place * 1000,)) for place in (1, 2)
    )
    return plan.model_copy(update={"replay": replay})


def test_the_lineage_names_the_windows_that_really_gave_rows(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    chosen = RESULT.model_copy(update={"replay_kept": (KeptRows(window_id=window_id(2), offsets=(2000,)),)})
    assert lineage_of(plan, RESULT).replay_window_ids == (window_id(1), window_id(2))
    assert lineage_of(plan, chosen).replay_window_ids == (window_id(2),)


def test_the_lineage_names_all_versions_of_an_average(tmp_path: Path) -> None:
    plan, parents = planned(tmp_path), [ParentVersion(version=version, digest=SHA) for version in ("3", "5")]
    alone, both = (plan.start.model_copy(update={"parents": tuple(parents[:count])}) for count in (1, 2))
    one = lineage_of(plan.model_copy(update={"start": alone}), RESULT)
    average = plan.model_copy(update={"start": both})
    assert (one.parent_version, one.averaged_versions) == ("3", ())
    found = Lineage.from_tags(lineage_of(average, RESULT).to_tags())
    assert (found.parent_version, found.averaged_versions) == ("3", ("3", "5"))
    assert parameters(average)["parent_version"] == "3+5"


def test_a_rebuild_tells_what_it_is_of_and_without(tmp_path: Path) -> None:
    order = RebuiltVersion(version="3", name="rebuild-1")
    plan = planned(tmp_path).model_copy(update={"rebuild": order, "without": ("source=spam",)})
    tags = lineage_of(plan, RESULT).to_tags()
    version = ModelVersion(version="7", run_id="run", source="", tags=tags, created_at=NOW)
    found = registration(OneVersion(version)).find_rebuild("rebuild-1", RunFolder(tmp_path / "gone"))
    assert found is not None
    assert (found.window_id, found.rebuild_of, found.without) == ("rebuild-1", "3", ("source=spam",))
    assert (parameters(plan)["rebuild_of"], parameters(plan)["without"]) == ("3", "source=spam")


def test_what_was_found_wrong_with_labels_is_kept_in_the_run_of_the_window(tmp_path: Path) -> None:
    plan, run, runs = planned(tmp_path), RunFolder(tmp_path / "run"), Runs()
    found = Suspects(suspicious=9, rows=10)
    run.write(run.plan_file, plan)
    run.write(run.quality_file, LabelQuality(report=QualityReport(window=found, sources={}), distrust="9 of 10"))
    assert {registration(runs).record_look(run, [closed_window(0)]) for _ in range(2)} == {
        f"look at labels of {window_id(0)}"
    }
    assert runs.runs.keys() == {window_id(0)}
    assert runs.metrics == {"suspicious_labels": 9.0, "suspicious_label_share": 0.9}
    assert set(runs.files) == {"plan.json", "quality.json", f"windows/{window_id(0)}.json"}
    assert set(runs.ended) == {f"look at labels of {window_id(0)}"}
