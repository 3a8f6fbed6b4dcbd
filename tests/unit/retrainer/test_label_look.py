"""The look at labels tells which of them stand out, what the model says instead, and where it is surest."""

from pathlib import Path

import numpy as np
import pytest

from services.retrainer.label_look import MOST_CHARS, MOST_ROWS, judged
from services.retrainer.plan import ParentVersion, Plan
from services.retrainer.runs import TrainingRow
from shared.label_quality import Suspects
from shared.training_settings import TrainingSettings
from tests.unit.retrainer.builders import SHA, rows, tiny_plan

ROWS, FLIPPED = 100, 80


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "config.json").write_text("{}")
    made = tiny_plan(tmp_path, ROWS, TrainingSettings())
    parents = (ParentVersion(version="7", digest=SHA),)
    return made.model_copy(update={"start": made.start.model_copy(update={"parents": parents})})


def flipped(count: int, **fields: object) -> list[TrainingRow]:
    """The first rows have the other label."""
    return [
        row.model_copy(update={"label": 1 - row.label if place < count else row.label} | fields)
        for place, row in enumerate(rows(ROWS))
    ]


def knowing() -> np.ndarray:
    """The answers of a model that knows better, and is surer with every row."""
    sure = np.linspace(0.8, 0.99, ROWS)
    positive = np.where(np.arange(ROWS) % 2 == 1, sure, 1 - sure)
    return np.stack([1 - positive, positive], axis=1)


def test_it_says_how_many_rows_of_each_label_are_taken_for_which_other(plan: Plan) -> None:
    found = judged(flipped(FLIPPED, source="importer"), knowing(), plan)
    assert found.labels == {"negative": 50, "positive": 50}
    suspects = found.report.window.suspicious
    assert suspects >= 0.8 * FLIPPED
    assert sum(count for said in found.confusion.values() for count in said.values()) == suspects
    assert {given: list(said) for given, said in found.confusion.items()} == {
        "negative": ["positive"],
        "positive": ["negative"],
    }
    assert (found.version, found.limit) == ("7", 0.4)
    assert "'importer'" in (found.distrust or "")


def test_the_worst_rows_are_those_where_the_model_is_surest(plan: Plan) -> None:
    found = judged(flipped(FLIPPED, source="importer"), knowing(), plan)
    assert len(found.worst) == MOST_ROWS
    sure = [row.confidence for row in found.worst]
    assert sure == sorted(sure, reverse=True)
    first = found.worst[0]
    assert (first.offset, first.given, first.said, first.source) == (FLIPPED - 1, "negative", "positive", "importer")
    assert "film was" in first.text


def test_long_reviews_are_cut(plan: Plan) -> None:
    found = judged(flipped(FLIPPED, text="w" * 1000), knowing(), plan)
    assert {len(row.text) for row in found.worst} == {MOST_CHARS + 1}


def test_sound_labels_give_nothing_to_tell(plan: Plan) -> None:
    found = judged(flipped(0), knowing(), plan)
    assert (found.distrust, found.confusion, found.worst) == (None, {}, ())
    assert found.report.window == Suspects(suspicious=0, rows=ROWS)


def test_a_window_without_training_rows_is_no_cause_for_distrust(plan: Plan) -> None:
    assert judged([], knowing()[:0], plan).distrust is None
