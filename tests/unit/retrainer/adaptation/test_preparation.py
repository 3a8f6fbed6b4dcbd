"""Held-out rows of neither stream reach the job; what was planned is kept; what is lost is left out or said."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest

from services.retrainer.adaptation.folder import TRAIN, VALIDATION, AdaptationFolder
from services.retrainer.adaptation.preparation import AdaptationPreparation
from services.retrainer.history import History
from services.retrainer.machine import Machine
from services.retrainer.plan import DecisionWait, Hardware, ParentVersion
from shared.archive import Archive, UnlabeledRow, WindowRow
from shared.errors import SnapshotError
from shared.events import ClosedWindow, Event, Side, UnlabeledWindow, Verdict
from shared.registry import Registry
from shared.settings import Settings, load_settings
from tests.unit.retrainer.adaptation.builders import base_candidate, base_decision, text_id, unlabeled_window
from tests.unit.retrainer.builders import NOW, SHA, candidate, closed_window, decision, window_id

ROWS = 40
SIDES = (Side.TRAIN, Side.TRAIN, Side.HOLDOUT, Side.CALIBRATION, Side.VALIDATION)
TRAIN_ROWS = 16
OTHER = "b" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, adaptation={"replay_share": 0.5, "probe_rows": 20})


def texts(settings: Settings, sequence: int) -> UnlabeledWindow:
    first = sequence * 1000
    rows = [
        UnlabeledRow(first + place, str(place), f"text {place}", SIDES[place % 5], None, None, 0, first + place, NOW)
        for place in range(ROWS)
    ]
    snapshot = Archive(settings).write_unlabeled(text_id(sequence), rows)
    return unlabeled_window(sequence, train=TRAIN_ROWS).model_copy(update={"snapshot": snapshot})


def labelled(settings: Settings, sequence: int) -> ClosedWindow:
    first = sequence * 1000
    rows = [
        WindowRow(
            offset=first + place,
            id=str(place),
            text=f"review {place}",
            label=place % 2,
            side=SIDES[place % 5],
            source=("shop", "spam", "shop")[place % 3],
            created_at=None,
            prediction_id=None,
            origin_partition=0,
            origin_offset=first + place,
            published_at=NOW,
            signature=None,
        )
        for place in range(ROWS)
    ]
    snapshot = Archive(settings).write(window_id(sequence), rows)
    return closed_window(sequence, train=TRAIN_ROWS).model_copy(update={"snapshot": snapshot})


def preparation(settings: Settings, root: str = SHA) -> AdaptationPreparation:
    machine = Machine(base_folder=settings.home, base_digest=root, hardware=Hardware(device="cpu", precision="fp32"))
    return AdaptationPreparation(settings, Archive(settings), create_autospec(Registry, instance=True), machine)


def history(*events: Event) -> History:
    made = History()
    for event in events:
        made.observe(event)
    return made


def prepared(settings: Settings, windows: list[UnlabeledWindow], *events: Event) -> AdaptationFolder:
    return preparation(settings).prepare(windows, history(*windows, *events), DecisionWait())


def is_of(side: Side, offset: int) -> bool:
    return SIDES[offset % 1000 % 5] is side


def test_the_job_gets_train_and_validation_texts_and_labelled_training_rows_only(settings: Settings) -> None:
    run = prepared(settings, [texts(settings, 0)], labelled(settings, 0), labelled(settings, 1))
    train, validation, probe = run.rows(TRAIN), run.rows(VALIDATION), run.probe_rows()
    assert (len(train), len(validation), len(probe)) == (TRAIN_ROWS, 8, 20)
    assert all(is_of(Side.TRAIN, row.offset) for row in (*train, *probe))
    assert all(is_of(Side.VALIDATION, row.offset) for row in validation)


def test_the_newest_labelled_rows_are_the_probe(settings: Settings) -> None:
    plan = prepared(settings, [texts(settings, 0)], labelled(settings, 0), labelled(settings, 1)).plan()
    assert plan is not None
    assert plan.probe_window_ids == (window_id(0), window_id(1))
    assert [window.train_rows for window in plan.probe] == [4, TRAIN_ROWS]
    assert plan.probe[0].offsets == (30, 31, 35, 36)


def test_the_probe_takes_nothing_that_the_champions_line_was_rebuilt_without(settings: Settings) -> None:
    champion = candidate(1, version="1").model_copy(update={"without": ("source=spam",)})
    events = [labelled(settings, 0), labelled(settings, 1), champion, decision(1, Verdict.PROMOTE, "1")]
    run = prepared(settings, [texts(settings, 0)], *events)
    assert {row.source for row in run.probe_rows()} == {"shop"}


def test_earlier_texts_are_learned_again(settings: Settings) -> None:
    earlier, newest = texts(settings, 0), texts(settings, 1)
    run = prepared(settings, [newest], labelled(settings, 0), earlier, base_candidate(0, "1"))
    plan, again = run.plan(), [row for row in run.rows(TRAIN) if row.window_id == text_id(0)]
    assert plan is not None
    assert (plan.new_rows, plan.replay_rows, len(again)) == (TRAIN_ROWS, TRAIN_ROWS // 2, TRAIN_ROWS // 2)
    assert {row.window_id for row in run.rows(VALIDATION)} == {text_id(0), text_id(1)}


def test_several_windows_are_learned_together(settings: Settings) -> None:
    run = prepared(settings, [texts(settings, 0), texts(settings, 1)], labelled(settings, 0))
    plan = run.plan()
    assert plan is not None
    assert (plan.window_id, plan.window_ids) == (text_id(1), (text_id(0), text_id(1)))
    assert len(run.rows(TRAIN)) == 2 * TRAIN_ROWS


def test_an_earlier_window_that_is_lost_is_left_out(settings: Settings) -> None:
    earlier, newest = texts(settings, 0), texts(settings, 1)
    (Path(settings.archive_url) / earlier.snapshot.path).unlink()
    plan = prepared(settings, [newest], labelled(settings, 0), earlier, base_candidate(0, "1")).plan()
    assert plan is not None
    assert plan.replay == ()


def test_a_new_window_that_is_lost_cannot_be_learned(settings: Settings) -> None:
    window = texts(settings, 0)
    (Path(settings.archive_url) / window.snapshot.path).unlink()
    with pytest.raises(SnapshotError, match="missing"):
        prepared(settings, [window], labelled(settings, 0))


def test_without_any_labels_nothing_can_be_compared(settings: Settings) -> None:
    lost = labelled(settings, 0)
    (Path(settings.archive_url) / lost.snapshot.path).unlink()
    with pytest.raises(SnapshotError, match="fine-tuned on"):
        prepared(settings, [texts(settings, 0)], lost)


def test_it_goes_on_from_the_base_in_use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[ParentVersion, ...]] = []

    def folders(self: object, parents: tuple[ParentVersion, ...]) -> tuple[Path, ...]:
        asked.append(parents)
        return (Path("/the/parent"),)

    monkeypatch.setattr("services.retrainer.adaptation.preparation.Parents.folders", folders)
    monkeypatch.setattr("services.retrainer.adaptation.preparation.Parents.at_hand", lambda self, named: tuple(named))
    events = [texts(settings, 0), base_candidate(0, "1"), base_decision(0, "1", Verdict.PROMOTE, "1")]
    run = prepared(settings, [texts(settings, 1)], labelled(settings, 0), *events)
    plan, parent = run.plan(), ParentVersion(version="1", digest=SHA)
    assert plan is not None
    assert plan.start.parents == (parent,)
    assert asked == [(parent,)]
    assert run.setup().start_folders == (Path("/the/parent"),)


def test_a_base_left_undecided_is_not_gone_on_from_but_its_text_is_learned_again(settings: Settings) -> None:
    events = [texts(settings, 0), base_candidate(0, "1"), base_decision(0, "1", Verdict.UNDECIDED, None)]
    plan = prepared(settings, [texts(settings, 1)], labelled(settings, 0), *events).plan()
    assert plan is not None
    assert plan.start.parents == ()
    assert [(window.window_id, len(window.offsets)) for window in plan.replay] == [(text_id(0), TRAIN_ROWS)]


def test_a_parent_whose_files_are_gone_stops_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.retrainer.adaptation.preparation.Parents.at_hand", lambda self, named: ())
    events = [texts(settings, 0), base_candidate(0, "1"), base_decision(0, "1", Verdict.PROMOTE, "1")]
    run = prepared(settings, [texts(settings, 1)], labelled(settings, 0), *events)
    assert run.setup().start_folders == (settings.home,)


def test_what_was_begun_is_finished_as_it_was_planned(settings: Settings) -> None:
    window, label = texts(settings, 0), labelled(settings, 0)
    work = preparation(settings)
    first = work.prepare([window], history(window, label), DecisionWait()).plan()
    later = history(window, label, labelled(settings, 1))
    assert work.prepare([window], later, DecisionWait()).plan() == first


def test_a_plan_that_began_with_another_base_is_set_aside(settings: Settings) -> None:
    """`model.base` was changed while an adaptation was under way."""
    window, label = texts(settings, 0), labelled(settings, 0)
    past = history(window, label)
    run = preparation(settings).prepare([window], past, DecisionWait())
    plan = preparation(settings, root=OTHER).prepare([window], past, DecisionWait()).plan()
    assert plan is not None
    assert plan.start.base_digest == OTHER
    assert sorted(path.name[:6] for path in run.path.parent.iterdir()) == ["other-", "u-0000"]
