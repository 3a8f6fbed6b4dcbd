import pytest

from services.retrainer.adaptation.selection import newest_offsets, obstacle, probe_windows
from services.retrainer.history import History
from shared.events import Event, Side, Verdict
from shared.settings import load_settings
from tests.unit.retrainer.adaptation.builders import base_candidate, unlabeled_window
from tests.unit.retrainer.builders import closed_window, decision, window_id


def history(*events: Event) -> History:
    made = History()
    for event in events:
        made.observe(event)
    return made


SETTINGS = load_settings(adaptation={"min_rows": 150, "probe_rows": 120})
ENOUGH_LABELS = [closed_window(0), closed_window(1)]


def test_it_begins_when_there_are_texts_and_labels_enough() -> None:
    assert obstacle(history(*ENOUGH_LABELS, unlabeled_window(0), unlabeled_window(1)), SETTINGS) is None


def test_texts_are_gathered_until_they_are_enough() -> None:
    assert obstacle(history(*ENOUGH_LABELS, unlabeled_window(0)), SETTINGS) == (
        "100 texts to learn, adaptation.min_rows is 150"
    )


def test_texts_that_were_learned_do_not_count() -> None:
    events = [*ENOUGH_LABELS, unlabeled_window(0), unlabeled_window(1), base_candidate(0, "1")]
    assert obstacle(history(*events), SETTINGS) == "100 texts to learn, adaptation.min_rows is 150"


@pytest.mark.parametrize(
    "unfit",
    [
        [],
        [closed_window(1, trainable=False)],
        [closed_window(1), decision(1, Verdict.REJECT, None, quarantined=True)],
    ],
    ids=["too few", "not trainable", "quarantined"],
)
def test_without_labels_to_compare_bases_with_it_waits(unfit: list[Event]) -> None:
    events = [closed_window(0), *unfit, unlabeled_window(0), unlabeled_window(1)]
    assert obstacle(history(*events), SETTINGS) == (
        "100 labelled rows to compare bases with, adaptation.probe_rows is 120"
    )


def test_it_can_be_switched_off() -> None:
    off = load_settings(adaptation={"min_rows": 1, "probe_rows": 1, "enabled": False})
    assert obstacle(history(*ENOUGH_LABELS, unlabeled_window(0)), off) == "adaptation.enabled is false"


def test_bases_are_compared_on_the_newest_labels() -> None:
    assert [window.window_id for window in probe_windows(history(*ENOUGH_LABELS))] == [window_id(1), window_id(0)]


def test_of_a_window_the_newest_training_rows_are_taken() -> None:
    rows = [(9, Side.TRAIN), (3, Side.TRAIN), (10, Side.HOLDOUT), (5, Side.VALIDATION), (7, Side.TRAIN)]
    assert newest_offsets(rows, 2) == (7, 9)
    assert newest_offsets(rows, 10) == (3, 7, 9)
    assert newest_offsets(rows, 0) == ()
