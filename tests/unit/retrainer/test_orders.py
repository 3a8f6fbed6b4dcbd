"""What windows and rebuilds ask for, and what is answered without a model."""

from pathlib import Path

import pytest

from services.retrainer.plan import DecisionWait
from services.retrainer.rebuild import Rebuild
from shared.errors import RecordError, RegistryRefusedError, RegistryUnavailableError, SnapshotError
from shared.events import CandidateStatus
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import candidate, closed_window, window_id
from tests.unit.retrainer.cycling import Harness, finish, quality


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_an_untrainable_window_is_skipped_with_its_reason(harness: Harness) -> None:
    made = finish(harness.cycle(closed_window(0, trainable=False)))
    assert (made.status, made.reason, made.version) == (CandidateStatus.SKIPPED, "one class only", None)
    assert harness.workshop.jobs == []


def test_training_from_the_base_without_replay_waits_for_nobody(harness: Harness) -> None:
    harness.history.observe(candidate(0, version="1"))
    finish(harness.cycle(closed_window(1), settings=TrainingSettings(start="base", replay_share=0)))
    assert harness.workshop.waits == [DecisionWait()]


def test_merged_windows_fail_together(harness: Harness) -> None:
    harness.workshop.prepare_errors = [SnapshotError("gone")]
    made = finish(harness.cycle(closed_window(0), closed_window(1)))
    assert made.window_id == window_id(1)
    assert made.window_ids == (window_id(0), window_id(1))


@pytest.mark.parametrize("when", ["in the job", "before a restart"])
def test_a_window_whose_labels_are_distrusted_gives_no_model(harness: Harness, when: str) -> None:
    why = "90% of its labels are suspicious"
    if when == "before a restart":
        harness.workshop.run.write(harness.workshop.run.quality_file, quality(why))
    else:
        harness.workshop.distrust = why
    made = finish(harness.cycle())
    assert (made.status, made.reason, made.version) == (CandidateStatus.DISTRUSTED, why, None)
    assert (made.run_id, made.numbers) == ("run of the look", quality(why).numbers())
    assert len(harness.workshop.jobs) == (0 if when == "before a restart" else 1)


def test_a_registry_that_is_away_is_waited_for_with_what_was_found(harness: Harness) -> None:
    harness.workshop.distrust = "90% of its labels are suspicious"
    harness.workshop.record_errors = [RegistryUnavailableError("down")]
    cycle = harness.cycle()
    with pytest.raises(RegistryUnavailableError):
        finish(cycle)
    assert finish(cycle).run_id == "run of the look"
    assert len(harness.workshop.jobs) == 1


def test_what_was_found_needs_no_record_to_count(harness: Harness) -> None:
    harness.workshop.distrust = "90% of its labels are suspicious"
    harness.workshop.record_errors = [RegistryRefusedError("no right to make runs")]
    made = finish(harness.cycle())
    assert (made.status, made.run_id) == (CandidateStatus.DISTRUSTED, None)


def test_a_window_whose_labels_were_looked_at_and_found_right_is_learned(harness: Harness) -> None:
    harness.workshop.run.write(harness.workshop.run.quality_file, quality(None))
    assert finish(harness.cycle()).status is CandidateStatus.READY


def test_a_rebuild_waits_for_no_decision(harness: Harness) -> None:
    harness.history.observe(candidate(0, version="1"))
    rebuild = Rebuild("rebuild-1", "1", "source=spam", windows=(closed_window(0),))
    finish(harness.rebuild(rebuild))
    assert harness.workshop.waits == [DecisionWait()]


def test_a_rebuild_that_cannot_be_made_out_is_answered_without_a_model(harness: Harness) -> None:
    made = finish(harness.rebuild(Rebuild("rebuild-1", "9", "source=spam", objection="no such version")))
    assert (made.window_id, made.window_ids, made.status) == ("rebuild-1", (), CandidateStatus.FAILED)
    assert (made.reason, made.rebuild_of, made.without) == ("no such version", "9", ("source=spam",))
    assert harness.workshop.jobs == []


def test_a_rebuild_without_rows_is_answered_too(harness: Harness) -> None:
    harness.workshop.prepare_errors = [RecordError("nothing is source=spam")]
    made = finish(harness.rebuild(Rebuild("rebuild-1", "9", "source=spam", windows=(closed_window(0),))))
    assert (made.window_id, made.window_ids, made.reason) == ("rebuild-1", (window_id(0),), "nothing is source=spam")
